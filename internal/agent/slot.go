package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/appium"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/client"
)

// slot is one agent: one device, one job at a time.
type slot struct {
	host      *host
	id        qgjob.AgentID
	me        *identity
	log       *slog.Logger
	server    *client.Client // tries again until its context ends
	once      *client.Client // asks once
	device    device.Device
	installed atomic.Pointer[qgjob.Installed] // what the device told last; the device itself is the claim loop's
	appium    *appium.Server                  // of the appwright runner, once a job wanted it; the claim loop's
	spool     *spool
	held      holdings
	brief     atomic.Bool        // the last job was short: claim several
	labels    map[string]string  // the host's and the device's
	pass      *browserstack.Pass // the way to a session of a cloud's plan; the claim loop's
	trust     *trust             // nil: the device is never in quarantine
	sick      atomic.Pointer[qgjob.Quarantine]

	// gate keeps renewals away while an answer with offers may be under way:
	// a renewal that does not name them would give them back.
	gate sync.Mutex

	ctx       context.Context // ends when tests must stop: errLeaving, or the refusal that named a newer incarnation
	supersede context.CancelCauseFunc

	mu      sync.Mutex
	timing  qgjob.Timing
	drained bool
	changed chan struct{} // closed when drained changes
}

// openSlot takes the agent's name, device and undelivered results. serial is
// that of a device of an adb server, else empty.
func (h *host) openSlot(id qgjob.AgentID, serial string) (*slot, error) {
	me, err := claimIdentity(h.StateDir, id, time.Now())
	if err != nil {
		return nil, err
	}
	s := &slot{
		host: h, id: id, me: me, log: h.Log.With("agent", string(id)),
		once: h.Server.With(client.NoRetry), changed: make(chan struct{}), labels: h.Labels,
	}
	s.server = h.Server.With(client.Retry{Budget: client.Unlimited, Max: retryCeiling, Notify: s.noticeServer()})
	s.ctx, s.supersede = context.WithCancelCause(h.work)
	if err := s.openFolders(serial); err != nil {
		return nil, errors.Join(fmt.Errorf("agent %s: %w", id, err), me.lock.Unlock())
	}
	return s, nil
}

func (s *slot) openFolders(serial string) error {
	for _, name := range []string{"spool", "work", "device"} {
		if err := os.MkdirAll(filepath.Join(s.me.dir, name), 0o700); err != nil {
			return err
		}
	}
	var err error
	if s.spool, err = openSpool(filepath.Join(s.me.dir, "spool"), s.log); err != nil {
		return err
	}
	if err := s.sweepWork(); err != nil {
		return err
	}
	if s.device, err = s.host.openDevice(filepath.Join(s.me.dir, "device"), serial); err != nil {
		return err
	}
	s.installed.Store(s.device.Installed())
	if a, ok := s.device.(interface{ Labels() map[string]string }); ok {
		s.labels = a.Labels()
		maps.Copy(s.labels, s.host.Labels)
		s.trust = openTrust(filepath.Join(s.me.dir, "trust.json"), s.host.Quarantine)
	}
	if s.host.cloud != nil {
		s.trust = openTrust(filepath.Join(s.me.dir, "trust.json"), s.host.Quarantine)
	}
	return nil
}

// close lets go of the device and the name.
func (s *slot) close() {
	s.supersede(errLeaving)
	s.leavePass()
	var err error
	if s.appium != nil {
		err = s.appium.Close()
	}
	if err := errors.Join(err, s.device.Close(), s.me.lock.Unlock()); err != nil {
		s.log.Warn("close", "error", err)
	}
}

// serve is the life of the slot: what an earlier process left is offered
// first, under that process's incarnation, because registering a newer one
// makes the server give those jobs to others.
func (s *slot) serve() error {
	claims, stop := s.claiming()
	defer stop()
	s.deliverSpooled(claims, 0)
	if err := s.register(claims); err != nil {
		return s.left(err)
	}
	renewing, renewed := context.WithCancel(context.WithoutCancel(s.ctx))
	var renewals sync.WaitGroup
	renewals.Go(func() { s.renewLoop(renewing) })
	renewals.Go(func() { s.offerAgainLoop(renewing) })
	err := s.claimLoop(claims)
	renewed()
	renewals.Wait()
	s.goodbye(true)
	return s.left(err)
}

// claiming ends with the host's claims and with the slot.
func (s *slot) claiming() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	stop := context.AfterFunc(s.host.claims, func() { cancel(context.Cause(s.host.claims)) })
	return ctx, func() { stop(); cancel(nil) }
}

// left is nil for a slot that left as it was told to.
func (s *slot) left(err error) error {
	if cause := context.Cause(s.ctx); cause != nil && qgjob.CodeOf(cause) == qgjob.CodeAgentSuperseded {
		return cause
	}
	return s.host.disowned(told(err))
}

// told is nil for the end of what was told to end.
func told(err error) error {
	if errors.Is(err, errDraining) || errors.Is(err, errLeaving) || errors.Is(err, errUnplugged) {
		return nil
	}
	return err
}

// superseded stops the slot: somebody else is this agent now.
func (s *slot) superseded(err error) {
	if s.ctx.Err() != nil {
		return
	}
	err = s.explain(err)
	s.log.Error("superseded", "error", err)
	s.supersede(err)
}

func (s *slot) setTiming(t qgjob.Timing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timing = t
}

// pace is the server's timing; what it left out takes the protocol's numbers.
func (s *slot) pace() (renew, poll time.Duration) {
	s.mu.Lock()
	t := s.timing
	s.mu.Unlock()
	renew, poll = 5*time.Second, 25*time.Second
	if t.RenewMS > 0 {
		renew = time.Duration(t.RenewMS) * time.Millisecond
	}
	if t.PollMS > 0 {
		poll = time.Duration(t.PollMS) * time.Millisecond
	}
	if t.LeaseTTLMS > 0 {
		// An idle agent is heard of by its claims only, and must be within a TTL.
		poll = min(poll, time.Duration(t.LeaseTTLMS)*time.Millisecond*2/3)
	}
	return renew, poll
}

// spread gives or takes a fifth, so that a fleet does not ask in step.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // a pause is no secret
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
