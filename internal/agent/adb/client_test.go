package adb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/agent/apk/apktest"
)

func newLab(t *testing.T) (*adbtest.Server, *adb.Client) {
	t.Helper()
	s, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, adb.New(s.Addr())
}

// says answers each connection with the same bytes, then closes or holds it.
func says(t *testing.T, text string, hold bool) *adb.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	t.Cleanup(func() { close(held); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 256)
				if _, err := c.Read(buf); err != nil {
					return
				}
				io.WriteString(c, text)
				if hold {
					<-held
				}
			}()
		}
	}()
	return adb.New(l.Addr().String())
}

func TestDevices(t *testing.T) {
	lab, client := newLab(t)
	if n, err := client.Version(t.Context()); err != nil || n != 41 {
		t.Errorf("version %d, %v", n, err)
	}
	lab.Plug(adbtest.Device{Serial: "emulator-5554"})
	lab.Plug(adbtest.Device{Serial: "R5CT10ABCDE", Model: "Pixel 6", State: "unauthorized"})
	got, err := client.Devices(t.Context())
	want := []adb.Listed{{Serial: "R5CT10ABCDE", State: "unauthorized", Model: "Pixel_6"}, {Serial: "emulator-5554", State: "device", Model: "Pixel_8"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if !got[1].Ready() || !got[1].Emulator() || got[0].Ready() || got[0].Emulator() {
		t.Error("which is ready, which an emulator?")
	}
}

// TestTrack plugs and unplugs while it is watched.
func TestTrack(t *testing.T) {
	lab, client := newLab(t)
	lists := make(chan []adb.Listed)
	ctx, stop := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Track(ctx, func(l []adb.Listed) { lists <- l }) }()
	next := func(want string) {
		t.Helper()
		for {
			var names []string
			for _, l := range <-lists {
				names = append(names, l.Serial+" "+l.State)
			}
			if strings.Join(names, ",") == want {
				return
			}
		}
	}
	next("")
	lab.Plug(adbtest.Device{Serial: "a1"})
	next("a1 device")
	lab.Plug(adbtest.Device{Serial: "b2"})
	next("a1 device,b2 device")
	lab.SetState("a1", "offline")
	next("a1 offline,b2 device")
	lab.Unplug("b2")
	next("a1 offline")
	enough := errors.New("enough")
	stop(enough)
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
	ended = make(chan error, 1)
	go func() { ended <- client.Track(t.Context(), func(l []adb.Listed) { lists <- l }) }()
	next("a1 offline")
	lab.Close()
	if err := <-ended; err == nil {
		t.Error("a server that went away is no end")
	}
}

func TestPhone(t *testing.T) {
	lab, client := newLab(t)
	lab.Plug(adbtest.Device{Serial: "emulator-5554"})
	phone, ctx := client.Phone("emulator-5554"), t.Context()
	file := apktest.APK(apktest.App{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: ".Main", Content: strings.Repeat("x", 300_000)})
	if _, there, err := phone.Package(ctx, "dev.qgjob.demo"); there || err != nil {
		t.Errorf("before: %v, %v", there, err)
	}
	if err := phone.Install(ctx, bytes.NewReader(file), int64(len(file))); err != nil {
		t.Fatal(err)
	}
	p, there, err := phone.Package(ctx, "dev.qgjob.demo")
	if err != nil || !there || p.VersionCode != 42 || p.VersionName != "1.4.2" || p.LastUpdateTime == "" || !strings.HasSuffix(p.Path, "/base.apk") {
		t.Errorf("after: %+v, %v, %v", p, there, err)
	}
	if err := phone.Launch(ctx, "dev.qgjob.demo", "dev.qgjob.demo.Main"); err != nil {
		t.Error(err)
	}
	if runs, err := phone.Running(ctx, "dev.qgjob.demo"); !runs || err != nil {
		t.Errorf("running: %v, %v", runs, err)
	}
	if err := errors.Join(phone.Stop(ctx, "dev.qgjob.demo"), phone.Clear(ctx, "dev.qgjob.demo")); err != nil {
		t.Error(err)
	}
	if runs, err := phone.Running(ctx, "dev.qgjob.demo"); runs || err != nil {
		t.Errorf("running: %v, %v", runs, err)
	}
	if err := phone.Uninstall(ctx, "dev.qgjob.demo"); err != nil {
		t.Error(err)
	}
	if err := phone.Uninstall(ctx, "dev.qgjob.demo"); err != nil {
		t.Errorf("an app that is not there: %v", err)
	}
	if err := phone.Clear(ctx, "dev.qgjob.demo"); err == nil {
		t.Error("an app that is not there was cleared")
	}
	if err := phone.Launch(ctx, "dev.qgjob.demo", ".Main"); err == nil {
		t.Error("an app that is not there was started")
	}
	if up, err := phone.Booted(ctx); !up || err != nil {
		t.Errorf("booted: %v, %v", up, err)
	}
}

// TestNamesNeverReachTheShell: a name is refused before anything is sent.
func TestNamesNeverReachTheShell(t *testing.T) {
	client := adb.New("127.0.0.1:1") // nobody listens: sending would be another error
	phone := client.Phone("emulator-5554")
	for _, name := range []string{"a.b;reboot", "", "$(reboot).x", "a b.c"} {
		_, _, err := phone.Package(t.Context(), name)
		for _, err := range []error{err, phone.Clear(t.Context(), name), phone.Stop(t.Context(), name), phone.Uninstall(t.Context(), name), phone.Launch(t.Context(), name, "x")} {
			if err == nil || !strings.Contains(err.Error(), "no package name") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := client.Shell(t.Context(), "a b", "ls"); err == nil || !strings.Contains(err.Error(), "no serial number") {
		t.Errorf("a serial with a blank: %v", err)
	}
}

func TestGone(t *testing.T) {
	lab, client := newLab(t)
	lab.Plug(adbtest.Device{Serial: "a1", State: "unauthorized"})
	lab.Plug(adbtest.Device{Serial: "b2", State: "offline"})
	for _, serial := range []string{"a1", "b2", "c3"} {
		_, err := client.Shell(t.Context(), serial, "true")
		if !adb.Gone(err) {
			t.Errorf("%s: %v", serial, err)
		}
	}
	lab.SetState("a1", "device")
	_, err := client.Shell(t.Context(), "a1", "false")
	if left, ok := errors.AsType[*adb.CommandError](err); !ok || left.Code != 1 || adb.Gone(err) {
		t.Errorf("a command that fails: %v", err)
	}
}

// TestWithdrawnMidInstall takes the device away while it installs.
func TestWithdrawnMidInstall(t *testing.T) {
	lab, client := newLab(t)
	lab.Plug(adbtest.Device{Serial: "a1"})
	lab.Slow("a1", time.Hour)
	file := apktest.APK(apktest.App{Package: "dev.qgjob.demo", VersionCode: 1})
	ended := make(chan error, 1)
	go func() { ended <- client.Phone("a1").Install(t.Context(), bytes.NewReader(file), int64(len(file))) }()
	lab.WaitBusy("a1")
	lab.Unplug("a1")
	if err := <-ended; err == nil {
		t.Error("an install without its device succeeded")
	}
	lab.Plug(adbtest.Device{Serial: "a1"})
	lab.Slow("a1", time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- client.Phone("a1").Install(ctx, bytes.NewReader(file), int64(len(file))) }()
	lab.WaitBusy("a1")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled install: %v", err)
	}
}

// TestStrangeServers: whatever answers, an error says so and nothing hangs.
func TestStrangeServers(t *testing.T) {
	for _, test := range []struct{ name, says, want string }{
		{"web server", "HTTP/1.1 400 Bad Request\r\n\r\n", "no adb server"},
		{"silent end", "", "closed the connection"},
		{"cut length", "OKAY00", "EOF"},
		{"no length", "OKAYzzzz", "a length of"},
		{"cut text", "OKAY0010ab", "EOF"},
		{"cut refusal", "FAIL00", "cannot be read"},
		{"refusal", "FAIL0004nope", "nope"},
	} {
		_, err := says(t, test.says, false).Version(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := says(t, "OKAY", true).Version(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that hangs: %v", err)
	}
}

// TestStrangeShells: packets that no adbd sends.
func TestStrangeShells(t *testing.T) {
	for _, test := range []struct{ name, packets, want string }{
		{"no exit code", "\x01\x02\x00\x00\x00hi", "without an exit code"},
		{"cut", "\x01\x09\x00\x00\x00hi", "without an exit code"},
		{"endless", "\x01\xff\xff\xff\xff", "more than is allowed"},
		{"wide exit code", "\x03\x02\x00\x00\x00ab", "exit code of 2 bytes"},
		{"fails", "\x02\x04\x00\x00\x00oops\x03\x01\x00\x00\x00\x07", "left with 7: oops"},
	} {
		_, err := says(t, "OKAYOKAY"+test.packets, false).Shell(t.Context(), "a1", "true")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	out, err := says(t, "OKAYOKAY\x09\x01\x00\x00\x00?\x01\x02\x00\x00\x00hi\x03\x01\x00\x00\x00\x00", false).Shell(t.Context(), "a1", "true")
	if out != "hi" || err != nil {
		t.Errorf("an unknown packet: %q, %v", out, err)
	}
}

func TestPictureIsAPicture(t *testing.T) {
	lab, client := newLab(t)
	lab.Plug(adbtest.Device{Serial: "a1"})
	if b, err := client.Phone("a1").Picture(t.Context()); err != nil || len(b) < 50 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := says(t, "OKAYOKAYno screen", false).Phone("a1").Picture(t.Context()); err == nil || !strings.Contains(err.Error(), "no picture") {
		t.Errorf("words instead of a picture: %v", err)
	}
}

func TestFromEnv(t *testing.T) {
	for text, want := range map[string]string{"": "127.0.0.1:5037", "6000": "127.0.0.1:6000", "x": "", "0": "", "70000": ""} {
		c, err := adb.FromEnv(func(string) string { return text })
		if (err != nil) != (want == "") || err == nil && c.Addr() != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

// TestStart runs a program in adb's place.
func TestStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	client := adb.New(addr)
	if err := client.Start(t.Context(), "no-such-adb"); !errors.Is(err, adb.ErrNoServer) || !strings.Contains(err.Error(), "apt-get install adb") {
		t.Errorf("without adb: %v", err)
	}
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" > %s\necho cannot bind >&2\nexit 3\n", said)
	if err := os.WriteFile(filepath.Join(dir, "adb"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	err = client.Start(t.Context(), filepath.Join(dir, "adb"))
	if err == nil || !strings.Contains(err.Error(), "cannot bind") {
		t.Errorf("an adb that fails: %v", err)
	}
	if got, _ := os.ReadFile(said); string(got) != "-P "+client.Port()+" start-server\n" {
		t.Errorf("adb was called with %q", got)
	}
	lab, running := newLab(t)
	if err := running.Start(t.Context(), filepath.Join(dir, "adb")); err != nil || lab.Addr() == "" {
		t.Errorf("a server that answers: %v", err)
	}
}
