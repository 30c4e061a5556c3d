package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/ios"
)

// ios reports whether the agents' devices are Apple's.
func (c Config) ios() bool { return c.Device == DeviceSimctl || c.Device == DeviceDevicectl }

func (c Config) checkIOS() error {
	want := qgjob.TargetDevice
	if c.Device == DeviceSimctl {
		want = qgjob.TargetEmulator
	}
	switch {
	case c.Target != want:
		return qgjob.Invalid("target", fmt.Sprintf("the devices of %s are of target %s, not %s", c.Device, want, c.Target))
	case c.Runner != "exec":
		return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "runner", Message: fmt.Sprintf("the %s runner does not drive iOS devices", c.Runner),
			Hint: "use --runner=exec with a program that starts its Appium session with QGJOB_APPIUM_CAPABILITIES"}
	case c.Slots > 1:
		return qgjob.Invalid("slots", "slots must not be given with devices: each device is one agent")
	case len(c.AVDs) > 0:
		return qgjob.Invalid("avd", "avd starts Android emulators: name simulators with --serial")
	case c.Demands.Package != "" && !ios.ValidBundleID(c.Demands.Package):
		return qgjob.Invalid("app-package", fmt.Sprintf("app-package %q is no bundle identifier, such as com.example.app", c.Demands.Package))
	}
	for _, udid := range c.Serials {
		if !ios.ValidUDID(udid) {
			return qgjob.Invalid("serial", fmt.Sprintf("serial %q is no UDID as xcrun %s lists them", udid, c.Device))
		}
		if err := qgjob.CheckName("name", string(c.idOf(udid))); err != nil {
			return err
		}
	}
	return nil
}

// chooseIOS picks the devices to serve: those that are named, which must be
// there, else all that are ready.
func chooseIOS(list []ios.Listed, serials []string) ([]string, error) {
	var out []string
	for _, l := range list {
		if len(serials) == 0 && l.Ready() && len(out) < MaxSlots {
			out = append(out, l.UDID)
		}
	}
	for _, udid := range serials {
		if !slices.ContainsFunc(list, func(l ios.Listed) bool { return l.UDID == udid }) {
			return nil, qgjob.Invalid("serial", fmt.Sprintf("there is no iOS device %s here", udid))
		}
		if !slices.Contains(out, udid) {
			out = append(out, udid)
		}
	}
	if len(out) == 0 {
		return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "device", Message: "no iOS device is ready",
			Hint: "boot a simulator or name it with --serial=UDID; connect, unlock and pair a phone"}
	}
	return out, nil
}

// serveIOS gives each device that is there now an agent.
func (h *host) serveIOS() error {
	ctx, cancel := context.WithTimeout(h.claims, openTime)
	defer cancel()
	if err := os.MkdirAll(h.StateDir, 0o700); err != nil {
		return err
	}
	var err error
	if h.apple, err = device.ListIOS(ctx, h.Xcrun, h.Device == DeviceSimctl, h.StateDir); err != nil {
		return err
	}
	udids, err := chooseIOS(h.apple, h.Serials)
	if err != nil {
		return err
	}
	return h.serveSlots(udids)
}

func (h *host) openIOS(dir, udid string) (device.Device, error) {
	i := slices.IndexFunc(h.apple, func(l ios.Listed) bool { return l.UDID == udid })
	if i < 0 {
		return nil, fmt.Errorf("there is no iOS device %q", udid)
	}
	return device.OpenIOS(h.Xcrun, h.apple[i], h.Demands, dir, filepath.Join(h.StateDir, "ports"))
}
