//go:build unix

package agent

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
)

// fakeEmulator plays the SDK's emulator: it writes down how it was called and
// how it ended.
func fakeEmulator(args []string) int {
	note := func(text string) {
		f, err := os.OpenFile(os.Getenv("FAKE_EMULATOR"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, text)
			err = f.Close()
		}
		if err != nil {
			panic(err)
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	note("start " + strings.Join(args, " "))
	if args[1] == "forks" {
		// As the SDK's emulator runs qemu: a process of its own session, deaf to the interrupt.
		self, err := os.Executable()
		if err != nil {
			panic(err)
		}
		child := exec.Command(self, "-avd", "qemu")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	if args[1] == "broken" {
		fmt.Println("PANIC: Missing emulator engine program")
		return 1
	}
	<-stop
	note("stop " + args[1])
	return 0
}

// TestFleetStartsEmulators: they run as long as the agent, and one that ends by
// itself is started again.
func TestFleetStartsEmulators(t *testing.T) {
	r, lab := newFleet(t)
	journal := filepath.Join(r.dir, "emulators")
	t.Setenv("FAKE_EMULATOR", journal)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.config.avdPause = 5 * time.Millisecond
	r.config.AVDs, r.config.EmulatorProgram, r.config.PassEnv = []string{"pixel", "broken"}, self, []string{"FAKE_EMULATOR"}
	lines := func() []string {
		text, _ := os.ReadFile(journal)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	r.begin(t)
	r.says(t, "Missing emulator engine")
	for len(lines()) < 3 || !strings.Contains(strings.Join(lines(), "\n"), "start -avd pixel") {
		runtime.Gosched()
	}
	lab.Plug(adbtest.Device{Serial: emulator}) // what the emulator would do
	r.online(t, "a1-"+emulator)
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	got := lines()
	if !slices.Contains(got, "stop pixel") {
		t.Errorf("the emulator outlives its agent: %q", got)
	}
	broken := 0
	for _, line := range got {
		if strings.HasPrefix(line, "start -avd broken") {
			broken++
		}
		if strings.HasPrefix(line, "start") && !strings.HasSuffix(line, "-no-window -no-audio -no-boot-anim -no-snapshot-save") {
			t.Errorf("called with %q", line)
		}
	}
	if broken < 2 {
		t.Errorf("an emulator that ended was started %d times", broken)
	}
}

// TestKilledAgentLeavesNoEmulator: kill -9 of the agent takes the emulator with
// it, and what that has started.
func TestKilledAgentLeavesNoEmulator(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	r, lab := newFleet(t)
	journal := filepath.Join(r.dir, "emulators")
	t.Setenv("FAKE_EMULATOR", journal)
	agent := r.process(t, lab.Addr(), "forks")
	emulators := func() (pids []string) {
		found, err := filepath.Glob("/proc/[0-9]*/environ")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			pid := filepath.Base(filepath.Dir(path))
			env, _ := os.ReadFile(path) // gone meanwhile, or somebody else's
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if strings.Contains(string(env), "FAKE_EMULATOR="+journal) && strings.Contains(string(line), "\x00-avd\x00") {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	await := func(what string, n int) {
		t.Helper()
		limit := tooLate()
		for len(emulators()) != n {
			select {
			case <-limit:
				t.Fatalf("%s: %q run; want %d", what, emulators(), n)
			default:
				runtime.Gosched()
			}
		}
	}
	await("before the kill", 2)
	kill(agent)
	await("after the kill", 0)
	if text, err := os.ReadFile(journal); err != nil || strings.Contains(string(text), "stop") {
		t.Errorf("it was stopped in good order, or never ran: %q, %v", text, err)
	}
}

func TestPlaceAVDs(t *testing.T) {
	taken := map[int]bool{5554: true, 5557: true}
	got, err := placeAVDs([]string{"a", "b"}, func(port int) bool { return !taken[port] })
	if err != nil || len(got) != 2 || got[0].serial() != "emulator-5558" || got[1].serial() != "emulator-5560" {
		t.Errorf("placed at %+v, %v", got, err)
	}
	if _, err := placeAVDs([]string{"a"}, func(int) bool { return false }); err == nil {
		t.Error("placed where no port is free")
	}
	want := []string{"emulator", "-avd", "a", "-port", "5558", "-no-window", "-no-audio", "-no-boot-anim", "-no-snapshot-save"}
	if argv := got[0].argv("emulator"); !slices.Equal(argv, want) {
		t.Errorf("argv %q", argv)
	}
}

func TestFindEmulator(t *testing.T) {
	sdk := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	none := func(string) string { return "" }
	if _, err := FindEmulator(none); err == nil || !strings.Contains(err.Error(), "ANDROID_HOME") {
		t.Errorf("without an SDK: %v", err)
	}
	program := filepath.Join(sdk, "emulator", "emulator")
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := FindEmulator(func(key string) string { return map[string]string{"ANDROID_SDK_ROOT": sdk}[key] })
	if err != nil || got != program {
		t.Errorf("found %q, %v", got, err)
	}
}
