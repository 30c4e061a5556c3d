// Package adbtest is an adb server with devices that do not exist: enough for
// package adb, for the real adb program and for Appium's. Tests plug and unplug
// its devices, break them, and read from its journal what was done to them.
//
// It imports the agent's apk only.
package adbtest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is the fake. Its zero value is not ready; see Listen.
type Server struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu        sync.Mutex
	devices   map[string]*device
	changed   chan struct{} // closed when the list of devices changes
	closed    chan struct{}
	conns     map[net.Conn]string // the serial of those that talk to a device
	unplugged map[string]*device
	journal   []Entry
	nextID    int
	asked     map[string]int // requests as they came
}

// Entry is one thing done to a device, as the journal keeps it.
type Entry struct {
	At          time.Time `json:"at"`
	Serial      string    `json:"serial"`
	Action      string    `json:"action"` // install, install-failed, uninstall, clear, stop, launch, reboot
	Package     string    `json:"package,omitempty"`
	VersionCode int64     `json:"version_code,omitempty"`
	SHA256      string    `json:"sha256,omitempty"` // of the installed file
	Bytes       int64     `json:"bytes,omitempty"`
	Detail      string    `json:"detail,omitempty"`
}

// Listen starts a server at addr, "127.0.0.1:0" for any free port.
func Listen(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // lives until Close
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, devices: map[string]*device{}, changed: make(chan struct{}), closed: make(chan struct{}),
		conns: map[net.Conn]string{}, unplugged: map[string]*device{}, asked: map[string]int{}}
	s.serving.Go(s.accept)
	return s, nil
}

// Addr is where it listens, "host:port".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Port is what ANDROID_ADB_SERVER_PORT wants.
func (s *Server) Port() string {
	return strconv.Itoa(s.listener.Addr().(*net.TCPAddr).Port)
}

// Close ends the server and every conversation.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	return err
}

// Done ends when the server was closed, by its owner or by host:kill.
func (s *Server) Done() <-chan struct{} { return s.closed }

// Journal is what was done to the devices so far, in order.
func (s *Server) Journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Count is how often an action was done to a device; "" for all devices.
func (s *Server) Count(serial, action string) int {
	n := 0
	for _, e := range s.Journal() {
		if e.Action == action && (serial == "" || serial == e.Serial) {
			n++
		}
	}
	return n
}

// Asked is how often each request came: host services and command lines.
func (s *Server) Asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.asked)
}

func (s *Server) note(e Entry) {
	e.At = time.Now().UTC()
	s.journal = append(s.journal, e)
}

func (s *Server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = ""
		s.mu.Unlock()
		s.serving.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			_ = c.Close()
		})
	}
}

// talk is one conversation.
type talk struct {
	net.Conn
	r      *bufio.Reader
	server *Server
	device *device // after a transport was chosen
}

func (t *talk) okay()                { _, _ = io.WriteString(t, "OKAY") }
func (t *talk) text(s string)        { _, _ = fmt.Fprintf(t, "%04x%s", len(s), s) }
func (t *talk) answer(s string)      { t.okay(); t.text(s) }
func (t *talk) fail(s string)        { _, _ = io.WriteString(t, "FAIL"); t.text(s) }
func (t *talk) number(n uint64)      { _ = binary.Write(t, binary.LittleEndian, n) }
func (t *talk) tracks(q string) bool { return strings.HasPrefix(q, "host:track-devices") }

func (s *Server) serve(c net.Conn) {
	t := &talk{Conn: c, r: bufio.NewReader(c), server: s}
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(t.r, head); err != nil {
			return
		}
		n, err := strconv.ParseUint(string(head), 16, 16)
		if err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(t.r, body); err != nil {
			return
		}
		q := string(body)
		s.mu.Lock()
		s.asked[q]++
		s.mu.Unlock()
		if !t.dispatch(q) {
			return
		}
	}
}

// dispatch answers one request; false ends the conversation.
func (t *talk) dispatch(q string) bool {
	switch {
	case strings.HasPrefix(q, "host:tport:"):
		return t.choose(strings.TrimPrefix(strings.TrimPrefix(q, "host:tport:"), "serial:"), true)
	case strings.HasPrefix(q, "host:transport:"):
		return t.choose(strings.TrimPrefix(q, "host:transport:"), false)
	case strings.HasPrefix(q, "host:transport-"):
		return t.choose(strings.TrimPrefix(q, "host:transport-"), false)
	case t.tracks(q):
		t.track(strings.HasSuffix(q, "-l"))
		return false
	case strings.HasPrefix(q, "host"):
		t.host(q)
		return false
	case t.device == nil:
		t.fail("no device was chosen")
		return false
	}
	return t.service(q)
}

// host answers what needs no device's shell.
func (t *talk) host(q string) {
	s := t.server
	serial, word := "", strings.TrimPrefix(q, "host:")
	if rest, ok := strings.CutPrefix(q, "host-serial:"); ok {
		// The serial may hold colons itself; the service is what is known.
		for _, known := range []string{"features", "get-state", "get-serialno", "get-devpath", "forward:", "killforward", "list-forward", "wait-for-"} {
			if i := strings.Index(rest, ":"+known); i >= 0 {
				serial, word = rest[:i], rest[i+1:]
				break
			}
		}
	}
	switch {
	case word == "version":
		t.answer("0029")
	case word == "devices":
		t.answer(s.list(false))
	case word == "devices-l":
		t.answer(s.list(true))
	case word == "host-features" || word == "features":
		t.answer("shell_v2,cmd")
	case word == "kill":
		t.okay()
		go s.Close() //nolint:errcheck // the program that asked has its answer
	case strings.HasPrefix(word, "wait-for-"):
		t.okay()
		if s.await(serial, word) {
			t.okay()
		}
	case word == "get-state":
		if d := s.find(serial); d != nil {
			t.answer(d.state)
		} else {
			t.fail("device '" + serial + "' not found")
		}
	case word == "get-serialno":
		t.answer(serial)
	case strings.HasPrefix(word, "forward:"), strings.HasPrefix(word, "killforward"):
		t.okay()
		t.okay()
	case word == "list-forward" || word == "get-devpath":
		t.answer("")
	default:
		t.fail("unknown host service " + q)
	}
}

func (s *Server) find(serial string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[serial]
}

func (s *Server) list(long bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, serial := range slices.Sorted(maps.Keys(s.devices)) {
		d := s.devices[serial]
		if long {
			fmt.Fprintf(&b, "%-22s %s product:sdk_gphone model:%s device:generic transport_id:%d\n", serial, d.state, strings.ReplaceAll(d.Model, " ", "_"), d.id)
		} else {
			fmt.Fprintf(&b, "%s\t%s\n", serial, d.state)
		}
	}
	return b.String()
}

// track pushes the list whenever it changes.
func (t *talk) track(long bool) {
	t.okay()
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, t.r)
		close(gone)
	}()
	for {
		t.server.mu.Lock()
		changed := t.server.changed
		t.server.mu.Unlock()
		t.text(t.server.list(long))
		select {
		case <-changed:
		case <-gone:
			return
		case <-t.server.closed:
			return
		}
	}
}

// await waits for a device to be there or to be gone.
func (s *Server) await(serial, word string) bool {
	wantGone := strings.HasSuffix(word, "-disconnect")
	for {
		s.mu.Lock()
		changed, ready := s.changed, false
		for name, d := range s.devices {
			ready = ready || (serial == "" || name == serial) && d.state == "device"
		}
		s.mu.Unlock()
		if ready != wantGone {
			return true
		}
		select {
		case <-changed:
		case <-s.closed:
			return false
		}
	}
}

// choose binds the conversation to a device.
func (t *talk) choose(serial string, numbered bool) bool {
	s := t.server
	s.mu.Lock()
	d := s.devices[serial]
	if serial == "any" || serial == "usb" || serial == "local" {
		d = nil
		for _, other := range s.devices {
			if d != nil {
				s.mu.Unlock()
				t.fail("more than one device/emulator")
				return false
			}
			d = other
		}
	}
	why := ""
	switch {
	case d == nil && len(s.devices) == 0:
		why = "no devices/emulators found"
	case d == nil:
		why = "device '" + serial + "' not found"
	case d.state == "unauthorized":
		why = "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set"
	case d.state != "device":
		why = "device " + d.state
	default:
		t.device = d
		s.conns[t.Conn] = d.Serial
	}
	s.mu.Unlock()
	if why != "" {
		t.fail(why)
		return false
	}
	t.okay()
	if numbered {
		t.number(uint64(d.id)) //nolint:gosec // counts from 1
	}
	return true
}

// service runs a device's service; the conversation ends with it, but for
// sync.
func (t *talk) service(q string) bool {
	switch {
	case q == "sync:":
		t.okay()
		t.sync()
	case strings.HasPrefix(q, "shell,v2"):
		_, line, _ := strings.Cut(q, ":")
		t.okay()
		t.shell(line, true)
	case strings.HasPrefix(q, "shell"), strings.HasPrefix(q, "exec:"):
		_, line, _ := strings.Cut(q, ":")
		t.okay()
		t.shell(line, false)
	case strings.HasPrefix(q, "reverse:"), strings.HasPrefix(q, "reboot:"):
		t.okay()
		t.okay()
	default:
		t.fail("unknown service " + q)
	}
	return false
}
