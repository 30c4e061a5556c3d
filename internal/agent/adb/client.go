// Package adb speaks to Android devices through an adb server, in the server's
// own protocol (packages/modules/adb: OVERVIEW.TXT, SERVICES.TXT): no adb
// program is needed while a server answers.
//
// It imports nothing of ours.
package adb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is where adb servers listen unless ANDROID_ADB_SERVER_PORT says
// otherwise.
const DefaultPort = 5037

// Bounds on a conversation that its caller gave no deadline.
const (
	dialTime  = 5 * time.Second
	askTime   = 30 * time.Second // any question that a device answers from memory
	startTime = 20 * time.Second // adb start-server
	maxText   = 0xffff           // bytes, what four hexadecimal digits can say
	// MaxOutput bounds what one command of a device may print, in bytes.
	MaxOutput = 64 << 20
)

// Client asks one adb server. It holds no connection: each question has its
// own, so any number of goroutines may ask.
type Client struct {
	addr string // host:port
}

// New gives a client of the server at addr, "host:port".
func New(addr string) *Client { return &Client{addr: addr} }

// FromEnv finds the server as the adb program does: on loopback, at the port
// that ANDROID_ADB_SERVER_PORT names, else at DefaultPort. getenv is os.Getenv
// or stands for it.
func FromEnv(getenv func(string) string) (*Client, error) {
	port := DefaultPort
	if text := getenv("ANDROID_ADB_SERVER_PORT"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("ANDROID_ADB_SERVER_PORT is %q, which is no port (1 to 65535)", text)
		}
		port = n
	}
	return New(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))), nil
}

// Addr is where the server is looked for, "host:port".
func (c *Client) Addr() string { return c.addr }

// Port is the server's port, as ANDROID_ADB_SERVER_PORT wants it.
func (c *Client) Port() string {
	_, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		return ""
	}
	return port
}

// ErrNoServer means that nothing answers at the server's address.
var ErrNoServer = errors.New("no adb server answers")

// Refusal is a server's FAIL, in its own words.
type Refusal struct {
	Service string // what was asked for
	Message string
}

// Error names the service and the server's words.
func (r *Refusal) Error() string { return fmt.Sprintf("adb %s: %s", r.Service, r.Message) }

// Gone reports whether err says that the device cannot be talked to: not
// plugged in, offline, not authorised.
func Gone(err error) bool {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		return false
	}
	text := strings.ToLower(r.Message)
	for _, word := range []string{"not found", "offline", "unauthorized", "authorizing", "no devices", "connecting", "still "} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// conn is one conversation. Its context ends it.
type conn struct {
	net.Conn
	stop func() bool
}

// open dials the server. The conversation ends with ctx, at the latest after
// limit.
func (c *Client) open(ctx context.Context, limit time.Duration) (*conn, error) {
	dialer := net.Dialer{Timeout: dialTime}
	nc, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w at %s (start one: adb start-server): %w", ErrNoServer, c.addr, err)
	}
	if limit > 0 {
		if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
			return nil, errors.Join(err, nc.Close())
		}
	}
	return &conn{Conn: nc, stop: context.AfterFunc(ctx, func() { _ = nc.Close() })}, nil
}

// Close ends the conversation.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// ask sends a service and reads OKAY, or FAIL as a *Refusal.
func (c *conn) ask(service string) error {
	if len(service) > maxText {
		return fmt.Errorf("adb: a request of %d bytes; allowed: %d", len(service), maxText)
	}
	if _, err := fmt.Fprintf(c, "%04x%s", len(service), service); err != nil {
		return fmt.Errorf("adb %s: %w", brief(service), err)
	}
	var status [4]byte
	if _, err := io.ReadFull(c, status[:]); err != nil {
		return fmt.Errorf("adb %s: the server closed the connection: %w", brief(service), err)
	}
	switch string(status[:]) {
	case "OKAY":
		return nil
	case "FAIL":
		text, err := c.text()
		if err != nil {
			return fmt.Errorf("adb %s: refused, and the reason cannot be read: %w", brief(service), err)
		}
		return &Refusal{Service: brief(service), Message: clean(text)}
	}
	return fmt.Errorf("adb %s: %s answers %q, which is no adb server", brief(service), c.RemoteAddr(), status[:])
}

// text reads four hexadecimal digits and as many bytes as they say.
func (c *conn) text() (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return "", fmt.Errorf("adb: a length of %q", head[:])
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(c, text); err != nil {
		return "", err
	}
	return string(text), nil
}

// host asks the server itself for a text.
func (c *Client) host(ctx context.Context, service string) (string, error) {
	conn, err := c.open(ctx, askTime)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.ask(service); err != nil {
		return "", over(ctx, err)
	}
	text, err := conn.text()
	if err != nil {
		return "", over(ctx, fmt.Errorf("adb %s: %w", service, err))
	}
	return text, nil
}

// over prefers the cause of an ended context to what the closed connection
// says.
func over(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// Version is the server's protocol version; 41 (hexadecimal 29) is every
// server since platform-tools 28.
func (c *Client) Version(ctx context.Context) (int, error) {
	text, err := c.host(ctx, "host:version")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("adb host:version: %s answers %q, which is no adb server", c.addr, brief(text))
	}
	return int(n), nil
}

// Start has a server answer: it runs `adb start-server` when none does. bin is
// the adb program, by name or path.
func (c *Client) Start(ctx context.Context, bin string) error {
	if _, err := c.Version(ctx); err == nil || !errors.Is(err, ErrNoServer) {
		return err
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		return fmt.Errorf("%w at %s, and there is no %s to start one: install it (Debian: apt-get install adb)", ErrNoServer, c.addr, bin)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-P", c.Port(), "start-server")
	cmd.WaitDelay = time.Second // the server that it leaves behind may hold its output
	if out, err := cmd.CombinedOutput(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s start-server: %w: %s", bin, err, clean(string(out)))
	}
	_, err = c.Version(ctx)
	return err
}

// Devices lists what the server sees.
func (c *Client) Devices(ctx context.Context) ([]Listed, error) {
	text, err := c.host(ctx, "host:devices-l")
	if err != nil {
		return nil, err
	}
	return ParseDevices(text), nil
}

// Track gives each list of devices that the server pushes, the present one
// first, until ctx ends or the server goes away; it always ends with an error.
func (c *Client) Track(ctx context.Context, each func([]Listed)) error {
	conn, err := c.open(ctx, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.ask("host:track-devices-l"); err != nil {
		return over(ctx, err)
	}
	for {
		text, err := conn.text()
		if err != nil {
			return over(ctx, fmt.Errorf("adb track-devices: %w", err))
		}
		each(ParseDevices(text))
	}
}

// brief shortens a service for messages: a command line may be long.
func brief(text string) string {
	const most = 120
	text = clean(text)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// clean makes one printable line of what a device or server said.
func clean(text string) string {
	const most = 400
	if len(text) > most {
		text = text[:most]
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return strings.Join(strings.Fields(text), " ")
}
