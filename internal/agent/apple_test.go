//go:build unix

package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/ios"
	"github.com/qualgent/qgjob/internal/agent/ios/iostest"
)

const simulator = "5C8F1E9B-6A0D-4F0B-9D52-3C1B2A7E4D10"

// TestSimulatorIsAnAgent has the booted simulator of a Mac run jobs; the one
// that is shut down is left alone.
func TestSimulatorIsAnAgent(t *testing.T) {
	r := newRig(t)
	mac := &iostest.Mac{Dir: t.TempDir(), Devices: []ios.Listed{
		{UDID: simulator, Name: "iPhone 15", State: "Booted", OS: "17.2", Simulator: true, Available: true},
		{UDID: "1C8F1E9B-6A0D-4F0B-9D52-3C1B2A7E4D10", Name: "iPhone 14", State: "Shutdown", OS: "16.4", Simulator: true, Available: true},
	}}
	r.config.Device, r.config.Xcrun = DeviceSimctl, mac.Run
	b := iostest.Zip(iostest.Plist(iostest.App{BundleID: "dev.qgjob.demo", Build: "42", Version: "1.4", Simulator: true}), false)
	app := &qgjob.App{SHA256: r.upload(b), FileName: "demo.zip", Size: int64(len(b))}
	r.begin(t)
	id := qgjob.AgentID("a1-" + simulator)
	r.online(t, id)
	if told := r.told[0]; told.Labels["platform"] != "ios" || told.Labels["os"] != "17.2" || len(r.agents) != 1 {
		t.Errorf("registered with %v, agents %v", told.Labels, r.agents)
	}
	for _, want := range []qgjob.InstallOutcome{qgjob.InstallDone, qgjob.InstallAvoided} {
		l := r.submit(r.test(t, string(want)+".js", "env"), app)
		got := r.result(t, l)
		if got.Outcome != qgjob.OutcomePassed || got.Install != want || got.AgentID != id {
			t.Errorf("%s: %+v", want, got)
		}
		r.logHas(t, l, `"appium:bundleId":"dev.qgjob.demo"`)
	}
	l := r.submit(r.test(t, "wrong.js"), &qgjob.App{SHA256: r.upload([]byte("none")), FileName: "x.ipa", Size: 4})
	if got := r.result(t, l); got.Outcome != qgjob.OutcomeErrored || got.Reason != qgjob.ReasonInstall || !strings.Contains(got.Message, "upload the .ipa") {
		t.Errorf("no app: %+v", got)
	}
	close(r.drain)
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestChooseIOS(t *testing.T) {
	list := []ios.Listed{{UDID: "A", State: "Booted", Available: true}, {UDID: "B", State: "Shutdown", Available: true}, {UDID: "C", State: "connected"}}
	for _, c := range []struct {
		list          []ios.Listed
		serials, want []string
		field         string
	}{
		{list, nil, []string{"A"}, ""},
		{list, []string{"B", "B", "A"}, []string{"B", "A"}, ""},
		{list, []string{"X"}, nil, "serial"},
		{list[1:], nil, nil, "device"},
	} {
		got, err := chooseIOS(c.list, c.serials)
		if !slices.Equal(got, c.want) || (err == nil) != (c.field == "") || (err != nil && qgjob.KindOf(err) != qgjob.KindInvalid) {
			t.Errorf("%v: %v, %v", c.serials, got, err)
		}
	}
}

func TestCheckIOS(t *testing.T) {
	good := newRig(t).config
	good.Device = DeviceSimctl
	for want, change := range map[string]func(*Config){
		"":                         func(*Config) {},
		"of target emulator":       func(c *Config) { c.Target = qgjob.TargetDevice },
		"of target device":         func(c *Config) { c.Device = DeviceDevicectl },
		"does not drive iOS":       func(c *Config) { c.Runner = "appwright" },
		"each device is one agent": func(c *Config) { c.Slots = 2 },
		"no UDID":                  func(c *Config) { c.Serials = []string{"--all"} },
		"no bundle identifier":     func(c *Config) { c.Demands.Package = "a b" },
		"Android emulators":        func(c *Config) { c.AVDs = []string{"x"} },
	} {
		c := good
		change(&c)
		if err := c.Check(); (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := Run(t.Context(), good); err == nil || !strings.Contains(err.Error(), "Mac with Xcode") {
		t.Errorf("without xcrun: %v", err)
	}
}
