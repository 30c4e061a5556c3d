package ios

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Listed is a simulator or a phone.
type Listed struct {
	UDID      string
	Name      string // such as iPhone 15
	State     string // of a simulator Booted, Shutdown, …; of a phone connected, disconnected, unavailable
	OS        string // its version, such as 17.2
	Simulator bool
	Available bool // a simulator's runtime is installed; a phone is paired
}

// Ready reports whether tests could run there now.
func (l Listed) Ready() bool {
	return l.Available && (l.State == "Booted" || l.State == "connected")
}

// udidPattern takes the UUIDs of simulators and the two sorts of phones'.
var udidPattern = regexp.MustCompile(`^[0-9A-Fa-f][0-9A-Fa-f-]{7,63}$`)

// ValidUDID reports whether s has the form of a device's identifier. It never
// begins with a dash, so no program takes it for an option.
func ValidUDID(s string) bool { return udidPattern.MatchString(s) }

var bundlePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,154}$`)

// ValidBundleID reports whether s has the form of a CFBundleIdentifier.
func ValidBundleID(s string) bool { return bundlePattern.MatchString(s) }

func simctl(words ...string) []string { return append([]string{xcrun, "simctl"}, words...) }

// SimList lists simulators; ParseSimulators reads its answer.
func SimList() []string { return simctl("list", "devices", "-j") }

// SimBoot starts a simulator unless it runs, and waits until it has.
func SimBoot(udid string) []string { return simctl("bootstatus", udid, "-b") }

// SimInstall puts the folder NAME.app there.
func SimInstall(udid, app string) []string { return simctl("install", udid, app) }

// SimUninstall takes an app and its data away.
func SimUninstall(udid, bundle string) []string { return simctl("uninstall", udid, bundle) }

// SimLaunch starts an app.
func SimLaunch(udid, bundle string) []string { return simctl("launch", udid, bundle) }

// SimTerminate stops an app.
func SimTerminate(udid, bundle string) []string { return simctl("terminate", udid, bundle) }

// SimContainer tells the folder of an installed app, and fails without one.
func SimContainer(udid, bundle string) []string {
	return simctl("get_app_container", udid, bundle, "app")
}

// SimScreenshot writes a picture, PNG, to a file.
func SimScreenshot(udid, file string) []string {
	return simctl("io", udid, "screenshot", "--type=png", file)
}

// SimLog tells the simulator's log of the last two minutes.
func SimLog(udid string) []string { return simctl("spawn", udid, "log", "show", "--last", "2m") }

// ParseSimulators reads the answer to SimList: iOS simulators, by UDID. Those of
// watches, televisions and headsets are left out.
func ParseSimulators(text []byte) ([]Listed, error) {
	var all struct {
		Devices map[string][]struct {
			UDID        string `json:"udid"`
			Name        string `json:"name"`
			State       string `json:"state"`
			IsAvailable bool   `json:"isAvailable"`
		} `json:"devices"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("simctl list: %w", err)
	}
	var out []Listed
	for runtime, list := range all.Devices {
		_, version, ok := strings.Cut(runtime, ".SimRuntime.iOS-")
		if !ok {
			continue
		}
		for _, d := range list {
			if ValidUDID(d.UDID) {
				out = append(out, Listed{d.UDID, d.Name, d.State, strings.ReplaceAll(version, "-", "."), true, d.IsAvailable})
			}
		}
	}
	slices.SortFunc(out, func(a, b Listed) int { return strings.Compare(a.UDID, b.UDID) })
	return out, nil
}
