package ios

import (
	"slices"
	"testing"
)

// recorded is a list of phones as devicectl 397 and 477 (Xcode 16 and 26) write
// it, cut to what tells devices apart; names and numbers are made up. Its
// shape is that of lists which others have published.
const recorded = `{
  "info" : {"arguments" : ["devicectl", "list", "devices", "--json-output", "x.json"], "commandType" : "devicectl.list.devices",
    "environment" : {"TERM" : "xterm-256color"}, "jsonVersion" : 2, "outcome" : "success", "version" : "477.39"},
  "result" : {"devices" : [
    {"capabilities" : [{"featureIdentifier" : "com.apple.coredevice.feature.tags", "name" : "Modify Tags"}],
      "connectionProperties" : {"isMobileDeviceOnly" : false, "pairingState" : "unsupported", "potentialHostnames" : ["a.coredevice.local"], "tunnelState" : "unavailable"},
      "deviceProperties" : {"bootState" : "booted", "ddiServicesAvailable" : false},
      "hardwareProperties" : {}, "identifier" : "11111111-2222-3333-4444-555555555555", "tags" : [], "visibilityClass" : "default"},
    {"connectionProperties" : {"authenticationType" : "manualPairing", "pairingState" : "paired", "transportType" : "wired", "tunnelIPAddress" : "fdf1::1",
        "tunnelState" : "connected", "tunnelTransportProtocol" : "tcp"},
      "deviceProperties" : {"name" : "A phone", "osBuildUpdate" : "23A341", "osVersionNumber" : "26.0", "developerModeStatus" : "enabled"},
      "hardwareProperties" : {"cpuType" : {"name" : "arm64e", "subType" : 2, "type" : 16777228}, "deviceType" : "iPhone", "ecid" : 18446744073709551615,
        "marketingName" : "iPhone 15 Pro", "platform" : "iOS", "productType" : "iPhone16,1", "reality" : "physical", "udid" : "00008130-000000000000001C"},
      "identifier" : "11111111-2222-3333-4444-555555555556"},
    {"connectionProperties" : {"pairingState" : "paired", "tunnelState" : "unavailable"},
      "deviceProperties" : {"name" : "Away", "osVersionNumber" : "17.4.1"},
      "hardwareProperties" : {"marketingName" : "iPhone 13", "platform" : "iOS", "udid" : "00008110-001A2B3C4D5E801E"}},
    {"connectionProperties" : {"pairingState" : "paired", "tunnelState" : "connected"},
      "deviceProperties" : {"name" : "A watch", "osVersionNumber" : "11.0"},
      "hardwareProperties" : {"marketingName" : "Apple Watch", "platform" : "watchOS", "udid" : "00008301-001A2B3C4D5E801E"}}
  ]}
}`

func TestParsePhonesAsRecorded(t *testing.T) {
	got, err := ParsePhones([]byte(recorded))
	want := []Listed{
		{UDID: "00008110-001A2B3C4D5E801E", Name: "iPhone 13", State: "unavailable", OS: "17.4.1", Available: true},
		{UDID: "00008130-000000000000001C", Name: "iPhone 15 Pro", State: "connected", OS: "26.0", Available: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
