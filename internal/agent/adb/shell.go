package adb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Quote makes words of a command line for a device's shell, which reads them
// back as they are (POSIX.1 2.2.2, single quotes).
func Quote(args ...string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if a != "" && strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+") == "" {
			out[i] = a
			continue
		}
		out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(out, " ")
}

// CommandError is a device's command that left with a code other than 0.
type CommandError struct {
	Command string
	Code    int
	Output  string // what it said, on one line
}

// Error names the command, its code and its words.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s left with %d: %s", e.Command, e.Code, e.Output)
}

// transport opens a service of one device. The conversation ends with ctx, at
// the latest after limit.
func (c *Client) transport(ctx context.Context, serial, service string, limit time.Duration) (*conn, error) {
	if !ValidSerial(serial) {
		return nil, fmt.Errorf("adb: %q is no serial number", brief(serial))
	}
	conn, err := c.open(ctx, limit)
	if err != nil {
		return nil, err
	}
	err = conn.ask("host:transport:" + serial)
	if err == nil {
		err = conn.ask(service)
	}
	if err != nil {
		return nil, errors.Join(over(ctx, err), conn.Close())
	}
	return conn, nil
}

// Shell runs a program of the device and gives what it printed on standard
// output. A code other than 0 is a *CommandError. It ends with ctx, at the
// latest after 30 s.
func (c *Client) Shell(ctx context.Context, serial string, args ...string) (string, error) {
	return c.shell(ctx, serial, askTime, args...)
}

func (c *Client) shell(ctx context.Context, serial string, limit time.Duration, args ...string) (string, error) {
	line := Quote(args...)
	conn, err := c.transport(ctx, serial, "shell,v2,raw:"+line, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	out, err := readShell(conn, MaxOutput)
	if err != nil {
		return "", over(ctx, fmt.Errorf("adb -s %s shell %s: %w", serial, brief(line), err))
	}
	if out.code != 0 {
		said := out.stderr.String()
		if strings.TrimSpace(said) == "" {
			said = out.stdout.String()
		}
		return out.stdout.String(), &CommandError{Command: brief(line), Code: out.code, Output: clean(said)}
	}
	return out.stdout.String(), nil
}

// The packets of shell protocol version 2 (adb: shell_protocol.h).
const (
	packetStdout = 1
	packetStderr = 2
	packetExit   = 3
)

type shellOutput struct {
	stdout, stderr bytes.Buffer
	code           int
}

var errNoExit = errors.New("the device ended the command without an exit code")

// readShell reads packets up to the exit code. limit bounds both outputs
// together.
func readShell(r io.Reader, limit int64) (*shellOutput, error) {
	out := &shellOutput{}
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, errNoExit
			}
			return nil, err
		}
		n := int64(binary.LittleEndian.Uint32(head[1:]))
		if limit -= n; limit < 0 {
			return nil, errTooMuch
		}
		to := io.Discard
		switch head[0] {
		case packetStdout:
			to = &out.stdout
		case packetStderr:
			to = &out.stderr
		case packetExit:
			if n != 1 {
				return nil, fmt.Errorf("an exit code of %d bytes", n)
			}
			var code [1]byte
			if _, err := io.ReadFull(r, code[:]); err != nil {
				return nil, errNoExit
			}
			out.code = int(code[0])
			return out, nil
		}
		if _, err := io.CopyN(to, r, n); err != nil {
			return nil, errNoExit
		}
	}
}

var errTooMuch = errors.New("the command prints more than is allowed")

// Exec runs a program of the device with in as its standard input, and gives
// the bytes that it printed: at most most, without an exit code.
func (c *Client) Exec(ctx context.Context, serial string, in io.Reader, most int64, limit time.Duration, args ...string) ([]byte, error) {
	line := Quote(args...)
	conn, err := c.transport(ctx, serial, "exec:"+line, limit)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if in != nil {
		if _, err := io.Copy(conn, in); err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// Otherwise the program may have left early and said why: that is read.
	}
	out, err := io.ReadAll(io.LimitReader(conn, most+1))
	switch {
	case err != nil:
		return nil, over(ctx, fmt.Errorf("adb -s %s exec %s: %w", serial, brief(line), err))
	case int64(len(out)) > most:
		return nil, fmt.Errorf("adb -s %s exec %s: %w", serial, brief(line), errTooMuch)
	}
	return out, nil
}
