//go:build unix

package agent

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/agent/apk/apktest"
)

const emulator = "emulator-5554"

// newFleet is a rig whose agents are the devices of a fake adb server.
func newFleet(t *testing.T) (*rig, *adbtest.Server) {
	t.Helper()
	lab, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	r := newRig(t)
	r.quick = true
	r.config.Device, r.config.ADB = DeviceADB, adb.New(lab.Addr())
	r.config.unplugGrace, r.config.canaryPause = 20*time.Millisecond, 5*time.Millisecond
	return r, lab
}

// app uploads an APK.
func (r *rig) app(code uint32) *qgjob.App {
	b := apktest.APK(apktest.App{Package: "dev.qgjob.demo", VersionCode: code, Activity: ".Main"})
	return &qgjob.App{SHA256: r.upload(b), FileName: "demo.apk", Size: int64(len(b))}
}

// online waits until an agent has registered with the labels of its device.
func (r *rig) online(t *testing.T, id qgjob.AgentID) {
	t.Helper()
	r.until(t, string(id)+" is online", func() bool { return r.agents[id] > 0 })
}

// goodbyes counts agents that left in good order. The server's lock is held.
func (r *rig) goodbyes() int {
	n := 0
	for _, q := range r.renews {
		if q.Leaving {
			n++
		}
	}
	return n
}

// sick is the quarantine that was told last. The server's lock is held.
func (r *rig) sick() *qgjob.Quarantine {
	if len(r.told) == 0 {
		return nil
	}
	return r.told[len(r.told)-1].Quarantine
}

func TestFleetPlugsAndUnplugs(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: "R5CT10ABCDE"}) // a phone: not this agent's target
	lab.Plug(adbtest.Device{Serial: "emulator-5556", State: "offline"})
	r.begin(t)
	lab.Plug(adbtest.Device{Serial: emulator, Model: "Pixel 7"})
	r.online(t, "a1-"+emulator)
	if told := r.told[0]; told.Labels["model"] != "pixel-7" || told.Labels["platform"] != "android" || told.Labels["serial"] != emulator {
		t.Errorf("registered with %v", told.Labels)
	}
	l := r.submit(r.test(t, "a.js", "env"), r.app(42))
	got := r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if got.Install != qgjob.InstallDone || got.AgentID != "a1-"+emulator || lab.Count(emulator, "install") != 1 {
		t.Errorf("result %+v, journal %+v", got, lab.Journal())
	}
	r.logHas(t, l, "ANDROID_SERIAL="+emulator)
	r.logHas(t, l, "QGJOB_APP_PACKAGE=dev.qgjob.demo")
	lab.SetState("emulator-5556", "device")
	r.online(t, "a1-emulator-5556")
	if _, ok := r.agents["a1-R5CT10ABCDE"]; ok {
		t.Error("a phone became an emulator")
	}

	lab.Unplug(emulator)
	r.until(t, "it says goodbye", func() bool { return r.goodbyes() == 1 })
	before := r.agents["a1-"+emulator]
	lab.Plug(adbtest.Device{Serial: emulator})
	r.until(t, "it is back in a new incarnation", func() bool { return r.agents["a1-"+emulator] > before })
	lab.Unplug("emulator-5556")
	r.until(t, "the other says goodbye", func() bool { return r.goodbyes() == 2 })
	l = r.submit(r.test(t, "b.js"), r.app(42))
	got = r.result(t, l)
	want(t, got, qgjob.OutcomePassed, "")
	if got.Install != qgjob.InstallAvoided || lab.Count(emulator, "install") != 1 {
		t.Errorf("installed again after it was unplugged: %+v", lab.Journal())
	}
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// TestFleetUnpluggedMidJob: the job is errored, never failed, whatever the
// test makes of it, and the device takes the next one when it is back.
func TestFleetUnpluggedMidJob(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	l := r.submit(r.test(t, "a.js", "block"), r.app(42))
	r.begin(t)
	r.logHas(t, l, "blocks")
	lab.Unplug(emulator)
	want(t, r.result(t, l), qgjob.OutcomeErrored, qgjob.ReasonDevice)
	lab.Plug(adbtest.Device{Serial: emulator})
	want(t, r.result(t, r.submit(r.test(t, "b.js"), r.app(42))), qgjob.OutcomePassed, "")
}

// TestFault_VerdictsOnBrokenDevices: a device that is not what it was when the
// test began makes every verdict errored, the good ones too.
func TestFault_VerdictsOnBrokenDevices(t *testing.T) {
	for _, test := range []struct {
		name   string
		orders string
		do     func(lab *adbtest.Server)
	}{
		{"a fail on a device that went offline", "exit 1", func(lab *adbtest.Server) { lab.SetState(emulator, "offline") }},
		{"a pass on a device that went offline", "exit 0", func(lab *adbtest.Server) { lab.SetState(emulator, "offline") }},
		{"a pass of a build that somebody replaced", "exit 0", func(lab *adbtest.Server) { lab.Replace(emulator, "dev.qgjob.demo", 42) }},
		{"a fail while the device restarts", "exit 1", func(lab *adbtest.Server) {
			lab.SetHealth(emulator, adbtest.Health{Battery: 90, FreeKB: 8 << 20})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, lab := newFleet(t)
			r.config.unplugGrace = time.Hour
			lab.Plug(adbtest.Device{Serial: emulator})
			pipe := r.pipe(t)
			l := r.submit(r.test(t, "a.js", "await "+pipe, test.orders), r.app(42))
			r.begin(t)
			r.logHas(t, l, "waits")
			test.do(lab)
			release(t, pipe)
			got := r.result(t, l)
			want(t, got, qgjob.OutcomeErrored, qgjob.ReasonDevice)
			if !strings.Contains(got.Message, "does not count") {
				t.Errorf("message %q", got.Message)
			}
		})
	}
}

func TestFleetShowsFailures(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	l := r.submit(r.test(t, "a.js", "exit 1"), r.app(42))
	good := r.submit(r.test(t, "b.js", "exit 0"), r.app(42))
	r.begin(t)
	want(t, r.result(t, l), qgjob.OutcomeFailed, qgjob.ReasonExit)
	want(t, r.result(t, good), qgjob.OutcomePassed, "")
	if a := l.artifacts["output/device-screen.png"]; !bytes.HasPrefix(r.blobs[a.SHA256], []byte("\x89PNG")) {
		t.Errorf("no picture among %v", l.artifacts)
	}
	if a := l.artifacts["output/device-logcat.txt"]; len(r.blobs[a.SHA256]) == 0 {
		t.Errorf("no log among %v", l.artifacts)
	}
	if len(good.artifacts) != 0 {
		t.Errorf("a pass left %v", good.artifacts)
	}
}

func TestFleetResets(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	r.begin(t)
	app := r.app(42)
	for i, reset := range []qgjob.Reset{qgjob.ResetClear, qgjob.ResetKeep, qgjob.ResetReinstall} {
		job := r.test(t, fmt.Sprintf("%d.js", i))
		job.Reset = reset
		want(t, r.result(t, r.submit(job, app)), qgjob.OutcomePassed, "")
	}
	var got []string
	for _, e := range lab.Journal() {
		got = append(got, e.Action)
	}
	if want := []string{"install", "stop", "clear", "uninstall", "install"}; !slices.Equal(got, want) {
		t.Errorf("the device saw %q, want %q", got, want)
	}
}

// TestQuarantine: three jobs broken in a row, told to the server, kept over a
// restart of the agent, ended by a canary.
func TestQuarantine(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	const full = "INSTALL_FAILED_INSUFFICIENT_STORAGE"
	lab.FailInstalls(emulator, full, full, full)
	var broken []*fakeLease
	for i := range 3 {
		broken = append(broken, r.submit(r.test(t, fmt.Sprintf("%d.js", i)), r.app(uint32(i+1)))) //nolint:gosec // small
	}
	r.config.canaryPause = time.Hour
	r.begin(t)
	for _, l := range broken {
		want(t, r.result(t, l), qgjob.OutcomeErrored, qgjob.ReasonInstall)
	}
	sick := func() bool {
		q := r.sick()
		return q != nil && q.Failures == 3 && strings.Contains(q.Reason, full) && strings.Contains(q.Next, "canary")
	}
	r.until(t, "the quarantine", sick)
	r.until(t, "it stays online", func() bool { return len(r.renews) > 0 })
	waiting := r.submit(r.test(t, "next.js"), r.app(9))
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if waiting.state == qgjob.Running || waiting.accepted > 0 {
		t.Errorf("a device in quarantine took a job: %s", waiting.state)
	}

	before := len(r.told)
	r.drain = make(chan struct{})
	r.config.Drain, r.config.canaryPause = r.drain, 5*time.Millisecond
	r.begin(t)
	r.until(t, "the quarantine is remembered", func() bool { return len(r.told) > before+1 && r.told[before+1].Quarantine != nil })
	want(t, r.result(t, waiting), qgjob.OutcomePassed, "")
	r.until(t, "the end of the quarantine", func() bool { return r.sick() == nil })
}

// TestWrongBuildsAccuseNoDevice: a build that no device takes is errored and
// puts no device into quarantine.
func TestWrongBuildsAccuseNoDevice(t *testing.T) {
	r, lab := newFleet(t)
	lab.Plug(adbtest.Device{Serial: emulator})
	sum := r.upload([]byte("no apk"))
	r.begin(t)
	for i := range 4 {
		got := r.result(t, r.submit(r.test(t, fmt.Sprintf("%d.js", i)), &qgjob.App{SHA256: sum, FileName: "x.apk", Size: 6}))
		want(t, got, qgjob.OutcomeErrored, qgjob.ReasonInstall)
		if !strings.Contains(got.Message, "no APK") || strings.Contains(got.Message, "\n") {
			t.Errorf("message %q", got.Message)
		}
	}
	want(t, r.result(t, r.submit(r.test(t, "good.js"), r.app(1))), qgjob.OutcomePassed, "")
	for _, told := range r.told {
		if told.Quarantine != nil {
			t.Errorf("quarantine: %+v", told.Quarantine)
		}
	}
}

// TestUnfitDevicesClaimNothing: a full device is told to the server and takes
// jobs when it has room again.
func TestUnfitDevicesClaimNothing(t *testing.T) {
	r, lab := newFleet(t)
	r.config.Demands.FreeBytes = 1 << 30
	lab.Plug(adbtest.Device{Serial: emulator})
	lab.SetHealth(emulator, adbtest.Health{Booted: true, Battery: 90, FreeKB: 1000})
	l := r.submit(r.test(t, "a.js"), nil)
	r.begin(t)
	r.until(t, "it says why", func() bool {
		q := r.sick()
		return q != nil && strings.Contains(q.Reason, "storage") && q.Failures == 0
	})
	if n := r.count("POST /v1/agents/a1-" + emulator + "/claim"); n != 0 {
		t.Errorf("%d claims of an unfit device", n)
	}
	lab.SetHealth(emulator, adbtest.Health{Booted: true, Battery: 90, FreeKB: 8 << 20})
	want(t, r.result(t, l), qgjob.OutcomePassed, "")
}

// TestFleetWaitsForItsServer: an adb server that comes late or starts anew ends
// no agent.
func TestFleetWaitsForItsServer(t *testing.T) {
	r, lab := newFleet(t)
	addr := lab.Addr()
	lab.Close()
	r.config.ADBProgram = "no-such-adb"
	r.config.unplugGrace = time.Hour
	r.begin(t)
	r.says(t, "no adb server answers")
	again, err := adbtest.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	again.Plug(adbtest.Device{Serial: emulator})
	r.online(t, "a1-"+emulator)
	again.Close()
	if again, err = adbtest.Listen(addr); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.Plug(adbtest.Device{Serial: emulator})
	want(t, r.result(t, r.submit(r.test(t, "a.js"), r.app(1))), qgjob.OutcomePassed, "")
	if n := r.count("POST /v1/agents/a1-" + emulator + "/register"); n < 1 {
		t.Errorf("%d registrations", n)
	}
}

// says waits for a line of the agent's log.
func (r *rig) says(t *testing.T, text string) {
	t.Helper()
	late := tooLate()
	for !strings.Contains(r.logged.String(), text) {
		select {
		case <-late:
			t.Fatalf("never logged: %s", text)
		default:
			runtime.Gosched()
		}
	}
}

func TestPlan(t *testing.T) {
	now := time.Unix(1000, 0)
	ready := func(serials ...string) (out []adb.Listed) {
		for _, s := range serials {
			out = append(out, adb.Listed{Serial: s, State: "device"})
		}
		return out
	}
	all := func(adb.Listed) bool { return true }
	for _, test := range []struct {
		name string
		list []adb.Listed
		have map[string]*member
		want string
	}{
		{"nothing", nil, nil, "open [] leave [] look never"},
		{"new ones", ready("b", "a"), nil, "open [b a] leave [] look never"},
		{"twice the same", ready("a", "a"), nil, "open [a] leave [] look never"},
		{"not ready", []adb.Listed{{Serial: "a", State: "unauthorized"}}, nil, "open [] leave [] look never"},
		{"there already", ready("a"), map[string]*member{"a": {open: true}}, "open [] leave [] look never"},
		{"just gone", nil, map[string]*member{"a": {open: true}}, "open [] leave [] look 10s"},
		{"gone for a while", nil, map[string]*member{"a": {open: true, missing: now.Add(-4 * time.Second)}}, "open [] leave [] look 6s"},
		{"gone", nil, map[string]*member{"a": {open: true, missing: now.Add(-10 * time.Second)}}, "open [] leave [a] look never"},
		{"offline counts as gone", []adb.Listed{{Serial: "a", State: "offline"}}, map[string]*member{"a": {open: true, missing: now.Add(-time.Minute)}}, "open [] leave [a] look never"},
		{"could not be opened, too early", ready("a"), map[string]*member{"a": {again: now.Add(time.Second)}}, "open [] leave [] look 1s"},
		{"could not be opened, again", ready("a"), map[string]*member{"a": {again: now}}, "open [a] leave [] look never"},
		{"refused by the server", ready("a"), map[string]*member{"a": {}}, "open [] leave [] look never"},
	} {
		m := plan(test.list, test.have, all, now, 10*time.Second)
		look := "never"
		if !m.look.IsZero() {
			look = m.look.Sub(now).String()
		}
		if got := fmt.Sprintf("open %v leave %v look %s", m.open, m.leave, look); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	back := map[string]*member{"a": {open: true, missing: now}}
	if plan(ready("a"), back, all, now, time.Second); !back["a"].missing.IsZero() {
		t.Error("a device that is back counts as away")
	}
}

func TestSuits(t *testing.T) {
	for _, test := range []struct {
		target  qgjob.Target
		serials []string
		serial  string
		want    bool
	}{
		{qgjob.TargetEmulator, nil, "emulator-5554", true}, {qgjob.TargetEmulator, nil, "R5CT", false},
		{qgjob.TargetDevice, nil, "R5CT", true}, {qgjob.TargetDevice, nil, "emulator-5554", false},
		{qgjob.TargetEmulator, []string{"192.168.1.7:5555"}, "192.168.1.7:5555", true}, {qgjob.TargetEmulator, []string{"x"}, "emulator-5554", false},
	} {
		c := Config{Target: test.target, Serials: test.serials}
		if got := c.suits(adb.Listed{Serial: test.serial}); got != test.want {
			t.Errorf("%s %v suits %s: %v", test.target, test.serials, test.serial, got)
		}
	}
}

func TestDeviceConfig(t *testing.T) {
	r := newRig(t)
	for field, change := range map[string]func(*Config){
		"device":      func(c *Config) { c.Device = "fax" },
		"target":      func(c *Config) { c.Device, c.Target = DeviceADB, qgjob.TargetBrowser },
		"slots":       func(c *Config) { c.Device, c.Slots = DeviceADB, 2 },
		"serial":      func(c *Config) { c.Serials = []string{"a"} },
		"avd":         func(c *Config) { c.AVDs = []string{"pixel"} },
		"app-package": func(c *Config) { c.Demands.Package = "demo" },
		"name": func(c *Config) {
			c.Device, c.Name, c.Serials = DeviceADB, strings.Repeat("n", 120), []string{"emulator-5554"}
		},
	} {
		c := r.config
		change(&c)
		e, ok := c.Check().(*qgjob.Error) //nolint:errorlint // the type is the contract
		if !ok || e.Field != field {
			t.Errorf("%s: %v", field, e)
		}
	}
}
