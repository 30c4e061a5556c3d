package agent

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

// Emulators take an even console port from this range and the next one for
// adb; the serial number follows from it (developer.android.com: "Start the
// emulator from the command line").
const (
	firstConsole = 5554
	lastConsole  = 5682
)

// avdAgain is the pause before an emulator that ended by itself is started
// again; it doubles up to avdMost.
const (
	avdAgain = 5 * time.Second
	avdMost  = 5 * time.Minute
	avdLong  = 10 * time.Minute // one that ran so long did not fail to start
)

// avd is an emulator that the agent starts and stops.
type avd struct {
	name    string
	console int
}

func (a avd) serial() string { return "emulator-" + strconv.Itoa(a.console) }

// argv starts the emulator without a window, and without keeping what tests did
// to it for the next start.
func (a avd) argv(program string) []string {
	return []string{program, "-avd", a.name, "-port", strconv.Itoa(a.console), "-no-window", "-no-audio", "-no-boot-anim", "-no-snapshot-save"}
}

// FindEmulator gives the SDK's emulator program: that of ANDROID_HOME or
// ANDROID_SDK_ROOT, else the one in PATH.
func FindEmulator(getenv func(string) string) (string, error) {
	for _, key := range []string{"ANDROID_HOME", "ANDROID_SDK_ROOT"} {
		if root := getenv(key); filepath.IsAbs(root) {
			if path, err := exec.LookPath(filepath.Join(root, "emulator", "emulator")); err == nil {
				return path, nil
			}
		}
	}
	path, err := exec.LookPath("emulator")
	if err != nil {
		return "", &qgjob.Error{Kind: qgjob.KindInvalid, Field: "avd", Message: "the SDK's emulator program is neither in ANDROID_HOME nor in PATH",
			Hint: "install it (sdkmanager emulator) and set ANDROID_HOME, or leave --avd away"}
	}
	return path, nil
}

// placeAVDs gives each AVD a console port of its own.
func placeAVDs(names []string, free func(port int) bool) ([]avd, error) {
	var out []avd
	port := firstConsole
	for _, name := range names {
		for ; port <= lastConsole && !(free(port) && free(port+1)); port += 2 {
			continue
		}
		if port > lastConsole {
			return nil, &qgjob.Error{Kind: qgjob.KindConflict, Field: "avd", Message: "no two ports in a row are free for the emulator " + name,
				Hint: "stop emulators that nobody needs"}
		}
		out = append(out, avd{name, port})
		port += 2
	}
	return out, nil
}

func portFree(port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}

// startAVDs has the emulators run until the function that it gives is called,
// which waits for their ends.
func (h *host) startAVDs() (stop func(), err error) {
	if len(h.AVDs) == 0 {
		return func() {}, nil
	}
	program := h.EmulatorProgram
	if program == "" {
		if program, err = FindEmulator(os.Getenv); err != nil {
			return nil, err
		}
	}
	avds, err := placeAVDs(h.AVDs, portFree)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var running sync.WaitGroup
	for _, a := range avds {
		running.Go(func() { h.avdLoop(ctx, a, program) })
	}
	return func() {
		cancel(errLeaving)
		running.Wait()
	}, nil
}

// avdLoop keeps one emulator running until ctx ends. It dies with the agent.
func (h *host) avdLoop(ctx context.Context, a avd, program string) {
	wait := h.avdPause
	for ctx.Err() == nil {
		begin := time.Now()
		h.Log.Info("starts an emulator", "avd", a.name, "serial", a.serial())
		said := &bytes.Buffer{}
		err := h.runAVD(ctx, a, program, said)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > avdLong {
			wait = h.avdPause
		}
		h.Log.Warn("an emulator ended by itself; it is started again", "avd", a.name, "after", wait, "error", err, "said", clip(lastLine(said.String()), 300))
		if pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, avdMost)
	}
}

func (h *host) runAVD(ctx context.Context, a avd, program string, said *bytes.Buffer) error {
	tail := &tailWriter{b: said, most: 8 << 10}
	env := runner.Env(os.Environ(), append([]string{"ANDROID_AVD_HOME", "ANDROID_USER_HOME", "ANDROID_EMULATOR_HOME"}, h.PassEnv...))
	p, err := proc.Start(proc.Command{
		Argv: a.argv(program), Dir: h.StateDir, Env: append(env, "ANDROID_ADB_SERVER_PORT="+h.ADB.Port()), Grace: h.Grace,
		Stdout: tail, Stderr: tail, Warn: h.warn,
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Cancel(context.Cause(ctx))
	}
	result := p.Wait()
	if result.Err == nil && result.ExitCode != 0 {
		return errors.New("it left with " + strconv.Itoa(result.ExitCode))
	}
	return result.Err
}

// tailWriter keeps the newest bytes that a program printed.
type tailWriter struct {
	mu   sync.Mutex
	b    *bytes.Buffer
	most int
}

// Write keeps p, at the cost of older bytes.
func (t *tailWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if over := t.b.Len() - t.most; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
