package ios

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

func devicectl(words ...string) []string { return append([]string{xcrun, "devicectl"}, words...) }

// PhoneList lists phones into a file; ParsePhones reads it. Only the JSON file
// is for programs (xcrun devicectl help: "--json-output").
func PhoneList(file string) []string {
	return devicectl("list", "devices", "--json-output", file)
}

// PhoneInstall puts a folder NAME.app or a file NAME.ipa on a phone.
func PhoneInstall(udid, app string) []string {
	return devicectl("device", "install", "app", "--device", udid, app)
}

// PhoneUninstall takes an app and its data away.
func PhoneUninstall(udid, bundle string) []string {
	return devicectl("device", "uninstall", "app", "--device", udid, bundle)
}

// PhoneApps lists installed apps into a file; ParseApps reads it.
func PhoneApps(udid, file string) []string {
	return devicectl("device", "info", "apps", "--device", udid, "--json-output", file)
}

// App is an app on a phone.
type App struct {
	BundleID string `json:"bundleIdentifier"`
	Build    string `json:"bundleVersion"` // CFBundleVersion
	Version  string `json:"version"`       // CFBundleShortVersionString
	URL      string `json:"url"`           // its folder, which changes with every install
}

// ParsePhones reads what PhoneList wrote: iPhones and iPads, by UDID.
func ParsePhones(text []byte) ([]Listed, error) {
	var all struct {
		Result struct {
			Devices []struct {
				Hardware struct {
					UDID     string `json:"udid"`
					Model    string `json:"marketingName"`
					Platform string `json:"platform"`
				} `json:"hardwareProperties"`
				Device struct {
					OS string `json:"osVersionNumber"`
				} `json:"deviceProperties"`
				Connection struct {
					Pairing string `json:"pairingState"`
					Tunnel  string `json:"tunnelState"`
				} `json:"connectionProperties"`
			} `json:"devices"`
		} `json:"result"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("devicectl list devices: %w", err)
	}
	var out []Listed
	for _, d := range all.Result.Devices {
		h := d.Hardware
		if ValidUDID(h.UDID) && (h.Platform == "iOS" || h.Platform == "iPadOS") {
			out = append(out, Listed{h.UDID, h.Model, reach(d.Connection.Tunnel), d.Device.OS, false, d.Connection.Pairing == "paired"})
		}
	}
	slices.SortFunc(out, func(a, b Listed) int { return strings.Compare(a.UDID, b.UDID) })
	return out, nil
}

// reach is the state of a phone by that of its tunnel: a paired phone at a cable
// shows "disconnected" until something is said to it, one that is away
// "unavailable".
func reach(tunnel string) string {
	if tunnel == "disconnected" {
		return "connected"
	}
	return tunnel
}

// ParseApps reads what PhoneApps wrote.
func ParseApps(text []byte) ([]App, error) {
	var all struct {
		Result struct {
			Apps []App `json:"apps"`
		} `json:"result"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("devicectl device info apps: %w", err)
	}
	return all.Result.Apps, nil
}
