package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/device"
)

const (
	unplugGrace = 10 * time.Second // a cable that moves, an adb server that starts anew
	openTime    = time.Minute
	serverPause = 2 * time.Second // before an adb server that is away is asked again
	reopenPause = 5 * time.Second // before a device that could not be opened is tried again
)

// suits reports whether a device is one that this agent serves.
func (c Config) suits(l adb.Listed) bool {
	return device.Suits(l, c.Target, c.Serials)
}

// member is a device with its agent. The fleet's loop owns it.
type member struct {
	serial  string
	leave   context.CancelCauseFunc
	missing time.Time // since when it is away; zero while it is there
	again   time.Time // when to open it again after it could not be opened
	open    bool      // its agent runs
}

// moves is what to do about a list of devices: open agents, let others go, and
// when to look again although nothing changed (zero: not at all).
type moves struct {
	open, leave []string
	look        time.Time
}

// plan compares the devices that are there with those that have agents, and
// notes in each member since when it is away.
func plan(list []adb.Listed, have map[string]*member, suits func(adb.Listed) bool, now time.Time, grace time.Duration) moves {
	var m moves
	soon := func(at time.Time) {
		if m.look.IsZero() || at.Before(m.look) {
			m.look = at
		}
	}
	ready := map[string]bool{}
	for _, l := range list {
		if !suits(l) || !l.Ready() || ready[l.Serial] {
			continue
		}
		ready[l.Serial] = true
		switch got := have[l.Serial]; {
		case got == nil:
			if len(have)+len(m.open) < MaxSlots {
				m.open = append(m.open, l.Serial)
			}
		case got.open:
			got.missing = time.Time{}
		case got.again.IsZero(): // refused by the server
		case now.Before(got.again):
			soon(got.again)
		default:
			m.open = append(m.open, l.Serial)
		}
	}
	for _, serial := range qgjob.SortedKeys(have) {
		got := have[serial]
		if ready[serial] || !got.open {
			continue
		}
		if got.missing.IsZero() {
			got.missing = now
		}
		if until := got.missing.Add(grace); now.Before(until) {
			soon(until)
		} else {
			m.leave = append(m.leave, serial)
		}
	}
	return m
}

// fleet is the devices of a host, each with its agent.
type fleet struct {
	host    *host
	members map[string]*member
	list    []adb.Listed
	known   bool              // list is what the server said last
	states  map[string]string // as they were logged
	ended   chan memberEnd
	errs    []error
}

type memberEnd struct {
	serial string
	err    error
	opened bool // it came as far as to serve
}

// serveFleet gives each device of the adb server an agent for as long as it is
// plugged in, until the host claims no more and the last agent has left.
func (h *host) serveFleet() error {
	stopAVDs, err := h.startAVDs()
	if err != nil {
		return err
	}
	defer stopAVDs()
	f := &fleet{host: h, members: map[string]*member{}, states: map[string]string{}, ended: make(chan memberEnd)}
	watching, stop := context.WithCancel(h.claims)
	defer stop()
	lists := make(chan []adb.Listed)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		h.watchDevices(watching, lists)
	}()
	for !f.over() {
		f.act()
		timer := time.NewTimer(f.next())
		select {
		case f.list = <-lists:
			f.known = true
			f.tell()
		case end := <-f.ended:
			f.close(end)
		case <-timer.C:
		case <-h.claims.Done():
			timer.Stop()
			f.drain()
		}
		timer.Stop()
	}
	stop()
	<-watched
	return errors.Join(f.errs...)
}

// over is true when nothing will come any more.
func (f *fleet) over() bool {
	running := slices.ContainsFunc(qgjob.SortedKeys(f.members), func(s string) bool { return f.members[s].open })
	return !running && (f.host.claims.Err() != nil || len(f.errs) > 0)
}

// drain waits for the agents, which all learn of it by themselves.
func (f *fleet) drain() {
	for _, m := range f.members {
		if m.open {
			f.close(<-f.ended)
			return
		}
	}
}

func (f *fleet) next() time.Duration {
	m := f.plan()
	if m.look.IsZero() {
		return time.Hour
	}
	return max(time.Until(m.look), time.Millisecond)
}

func (f *fleet) plan() moves {
	if !f.known || f.host.claims.Err() != nil {
		return moves{}
	}
	return plan(f.list, f.members, f.host.suits, time.Now(), f.host.unplugGrace)
}

func (f *fleet) act() {
	todo := f.plan()
	for _, serial := range todo.leave {
		f.host.Log.Warn("a device was unplugged", "serial", serial)
		f.members[serial].leave(errUnplugged)
		f.members[serial].missing = time.Now().Add(time.Hour) // told once
	}
	for _, serial := range todo.open {
		ctx, leave := context.WithCancelCause(context.Background())
		f.members[serial] = &member{serial: serial, leave: leave, open: true}
		go func() { f.ended <- f.host.serveDevice(ctx, serial) }()
	}
}

// close notes the end of an agent. A device that could not be opened is tried
// again later; an agent that the server refuses is not.
func (f *fleet) close(end memberEnd) {
	m := f.members[end.serial]
	m.leave(nil)
	switch {
	case end.err == nil:
		delete(f.members, end.serial)
	case !end.opened:
		f.host.Log.Warn("a device cannot be used", "serial", end.serial, "error", end.err)
		m.open, m.again = false, time.Now().Add(reopenPause)
	default:
		f.errs = append(f.errs, end.err)
		m.open, m.again = false, time.Time{}
	}
}

// serveDevice is one device's agent from plugging to unplugging.
func (h *host) serveDevice(ctx context.Context, serial string) memberEnd {
	id := h.idOf(serial)
	if err := qgjob.CheckName("name", string(id)); err != nil {
		return memberEnd{serial, err, false}
	}
	s, err := h.openSlot(id, serial)
	if err != nil {
		return memberEnd{serial, err, false}
	}
	defer s.close()
	stop := context.AfterFunc(ctx, func() { s.supersede(context.Cause(ctx)) })
	defer stop()
	return memberEnd{serial, s.serve(), true}
}

// tell logs devices that are there and cannot be used.
func (f *fleet) tell() {
	now := map[string]string{}
	for _, l := range f.list {
		if !f.host.suits(l) {
			continue
		}
		now[l.Serial] = l.State
		if !l.Ready() && f.states[l.Serial] != l.State {
			f.host.Log.Warn("a device is not ready", "serial", l.Serial, "state", l.State, "next", adviceFor(l.State))
		}
	}
	f.states = now
}

// adviceFor is what a person can do about a device's state.
func adviceFor(state string) string {
	switch state {
	case "unauthorized":
		return "unlock the device and allow USB debugging for this computer"
	case "no permissions":
		return "add a udev rule for the device, or run adb start-server as a user who may open it"
	case "offline":
		return "plug it in again, or restart it"
	}
	return "wait, or restart the device"
}

// watchDevices hands over each list of the adb server until ctx ends. It starts
// the server when it is away.
func (h *host) watchDevices(ctx context.Context, lists chan<- []adb.Listed) {
	program := h.ADBProgram
	if program == "" {
		program = "adb"
	}
	said := ""
	for ctx.Err() == nil {
		err := h.ADB.Start(ctx, program)
		if err == nil {
			err = h.ADB.Track(ctx, func(l []adb.Listed) {
				said = ""
				select {
				case lists <- l:
				case <-ctx.Done():
				}
			})
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != said {
			h.Log.Warn("no devices: the adb server is away; it is asked again", "error", err)
			said = text
		}
		if pause(ctx, min(serverPause, h.retryPause)) != nil {
			return
		}
	}
}
