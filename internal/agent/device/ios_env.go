package device

import (
	"encoding/json"
	"path/filepath"
	"strconv"
)

// Env gives QGJOB_IOS_UDID, QGJOB_PORT_BASE, QGJOB_WDA_PORT and
// QGJOB_DERIVED_DATA, of an uploaded build QGJOB_APP_PATH and
// QGJOB_APP_BUNDLE_ID, and all of it as QGJOB_APPIUM_CAPABILITIES, a JSON object.
func (d *IOS) Env(b Build) []string {
	text, _ := json.Marshal(d.Capabilities(b)) // strings, numbers and booleans: cannot fail
	env := []string{
		"QGJOB_IOS_UDID=" + d.about.UDID,
		"QGJOB_PORT_BASE=" + strconv.Itoa(d.ports),
		"QGJOB_WDA_PORT=" + strconv.Itoa(d.wdaPort()),
		"QGJOB_DERIVED_DATA=" + d.derivedData(),
		"QGJOB_APPIUM_CAPABILITIES=" + string(text),
	}
	if d.Wants(b) && d.held != nil {
		env = append(env, "QGJOB_APP_PATH="+filepath.Join(d.dir, appFolder, filepath.FromSlash(d.held.FileName)), "QGJOB_APP_BUNDLE_ID="+d.held.Phone.Package)
	}
	return env
}

// Capabilities keep a session of Appium's XCUITest driver on this device, with
// the app that is installed there, and out of the way of the host's other
// devices (Appium: xcuitest, "Parallel Tests").
func (d *IOS) Capabilities(b Build) map[string]any {
	set := map[string]any{
		"platformName":           "iOS",
		"appium:automationName":  "XCUITest",
		"appium:udid":            d.about.UDID,
		"appium:wdaLocalPort":    d.wdaPort(),
		"appium:derivedDataPath": d.derivedData(),
		"appium:noReset":         true, // the agent has done what the job asked for
	}
	if d.Wants(b) && d.held != nil {
		set["appium:bundleId"] = d.held.Phone.Package
	}
	return set
}

// wdaPort is the second port of the device's block; the first is for Appium.
func (d *IOS) wdaPort() int { return d.ports + 1 }

func (d *IOS) derivedData() string { return filepath.Join(d.dir, "derived") }
