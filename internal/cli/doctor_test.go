package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/agent/doctor"
)

// TestDoctor: exit code 0 is a promise that tests can run.
func TestDoctor(t *testing.T) {
	lab, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	examine := func(args ...string) (int, string, string) {
		p := newProgram(t, "http://127.0.0.1:1")
		p.env = append(p.env, "ANDROID_ADB_SERVER_PORT="+lab.Port(), "HOME="+p.dir)
		return p.run(append([]string{"agent", "doctor", "--target=device", "--device=adb", "--runner=exec"}, args...)...)
	}
	code, out, errs := examine()
	if code != exitInfra {
		t.Errorf("without a device it left with %d", code)
	}
	has(t, out, "no usable device of target device", "allow USB debugging")
	has(t, errs, "tests cannot run here: 1 thing to mend")
	lab.Plug(adbtest.Device{Serial: "R5CT10ABCDE"})
	code, out, errs = examine()
	if code != 0 {
		t.Errorf("with a device it left with %d\n%s%s", code, out, errs)
	}
	has(t, out, "R5CT10ABCDE (Pixel 8, Android 14) is well", "Tests can run here.")
	code, out, _ = examine("--json")
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || !r.Ready || r.Device != "adb" || len(r.Findings) == 0 {
		t.Errorf("as JSON: %d, %v, %s", code, err, out)
	}
	lab.SetHealth("R5CT10ABCDE", adbtest.Health{Booted: true, Battery: 90, FreeKB: 1})
	code, out, _ = examine("--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitInfra || r.Ready {
		t.Errorf("a full device: %d, %v, %s", code, err, out)
	}
	lab.Unplug("R5CT10ABCDE")
	t.Setenv("ANDROID_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	code, out, _ = examine("--target=emulator", "--avd=pixel")
	if code != exitInfra {
		t.Errorf("without the SDK's emulator it left with %d", code)
	}
	has(t, out, "the SDK's emulator program is neither in ANDROID_HOME nor in PATH", "sdkmanager emulator")
	for _, args := range [][]string{{"--target=fax"}, {"--min-battery=101"}, {"x"}} {
		if code, out, _ := examine(args...); code != exitUsage {
			t.Errorf("%v left with %d\n%s", args, code, out)
		}
	}
}

// TestAgentOfDevices runs the whole way: a server, an agent of a lab with an
// emulator, a job on it, and the quarantine that people see when it is full.
func TestAgentOfDevices(t *testing.T) {
	lab, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	lab.Plug(adbtest.Device{Serial: "emulator-5554"})
	t.Setenv("ANDROID_ADB_SERVER_PORT", lab.Port())
	f := newFarm(t)
	defer func() { f.stop(t, os.Interrupt) }()
	f.restart() // with a short lease, so that idle agents look at their devices often
	p, code := f.agent(t.TempDir(), "--name=lab", "--device=adb", "--min-free-mb=1")
	f.run(0, tests("ask-1")...)
	(<-f.asks).say("exit 0")
	f.run(0, "wait", "run_1")
	out, _ := f.run(0, "agents")
	has(t, out, "lab-emulator-5554", "model=pixel-8", "idle")
	lab.SetHealth("emulator-5554", adbtest.Health{Booted: true, Battery: 90, FreeKB: 1})
	f.await(t, "in quarantine: emulator-5554: 0 MiB of storage are free", "agents")
	has(t, f.await(t, "quarantined", "agents"), "lab-emulator-5554")
	p.signals <- os.Interrupt
	if got := <-code; got != 0 {
		t.Errorf("the agent left with %d\n%s", got, p.err.String())
	}
}

// await asks until the answer holds a text.
func (f *farm) await(t *testing.T, text string, args ...string) string {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 1200 {
		_, out, errs := newProgram(t, f.base).run(args...)
		if strings.Contains(out+errs, text) {
			return out + errs
		}
		<-again.C
	}
	t.Errorf("%v never said %q", args, text)
	return ""
}
