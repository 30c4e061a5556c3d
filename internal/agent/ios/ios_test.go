package ios_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/ios"
	"github.com/qualgent/qgjob/internal/agent/ios/iostest"
)

const simulators = `{"devices":{
 "com.apple.CoreSimulator.SimRuntime.tvOS-17-2":[{"udid":"11111111-0000-4000-8000-000000000000","name":"Apple TV","state":"Shutdown","isAvailable":true}],
 "com.apple.CoreSimulator.SimRuntime.iOS-17-2":[{"lastBootedAt":"2024-01-01T00:00:00Z","dataPath":"/d","logPathSize":4096,
  "udid":"5C8F1E9B-6A0D-4F0B-9D52-3C1B2A7E4D10","isAvailable":true,"deviceTypeIdentifier":"com.apple.CoreSimulator.SimDeviceType.iPhone-15","state":"Booted","name":"iPhone 15"},
  {"udid":"--help","isAvailable":true,"state":"Booted","name":"evil"}],
 "com.apple.CoreSimulator.SimRuntime.iOS-16-4":[{"udid":"1C8F1E9B-6A0D-4F0B-9D52-3C1B2A7E4D10","isAvailable":false,"availabilityError":"runtime profile not found","state":"Shutdown","name":"iPhone 14"}]}}`

const phones = `{"info":{"outcome":"success","jsonVersion":2},"result":{"devices":[
 {"identifier":"A","connectionProperties":{"pairingState":"paired","transportType":"wired","tunnelState":"disconnected"},
  "deviceProperties":{"name":"Lab 1","osVersionNumber":"17.4.1"},"hardwareProperties":{"marketingName":"iPhone 13","platform":"iOS","udid":"00008110-001A2B3C4D5E801E"}},
 {"identifier":"B","connectionProperties":{"pairingState":"paired","tunnelState":"unavailable"},
  "deviceProperties":{"osVersionNumber":"10.2"},"hardwareProperties":{"platform":"watchOS","udid":"00008301-001A2B3C4D5E801E"}}]}}`

const apps = `{"result":{"apps":[{"bundleIdentifier":"dev.qgjob.demo","bundleVersion":"42","version":"1.4","name":"Demo","removable":true,"url":"file:///private/var/containers/Bundle/Application/X/Demo.app/"}]}}`

func TestParse(t *testing.T) {
	list, err := ios.ParseSimulators([]byte(simulators))
	if err != nil || len(list) != 2 || list[0].Ready() || !list[1].Ready() || list[1].OS != "17.2" || list[1].Name != "iPhone 15" {
		t.Errorf("simulators: %+v, %v", list, err)
	}
	list, err = ios.ParsePhones([]byte(phones))
	if err != nil || len(list) != 1 || !list[0].Ready() || list[0].UDID != "00008110-001A2B3C4D5E801E" || list[0].OS != "17.4.1" {
		t.Errorf("phones: %+v, %v", list, err)
	}
	got, err := ios.ParseApps([]byte(apps))
	if err != nil || len(got) != 1 || got[0].BundleID != "dev.qgjob.demo" || got[0].Build != "42" || !strings.HasPrefix(got[0].URL, "file:///") {
		t.Errorf("apps: %+v, %v", got, err)
	}
	for _, err := range []error{parseAll([]byte("No devices found.")), parseAll([]byte(`{"devices":[]}`))} {
		if err == nil {
			t.Error("garbage was taken")
		}
	}
}

func parseAll(text []byte) error {
	if _, err := ios.ParsePhones(text); err != nil {
		return err
	}
	_, err := ios.ParseSimulators(text)
	return err
}

func TestRead(t *testing.T) {
	for _, a := range []iostest.App{
		{BundleID: "dev.qgjob.demo", Build: "42", Version: "1.4", Simulator: true},
		{BundleID: "dev.qgjob.demo", Build: "43", Version: "1.5", Binary: true},
	} {
		text := iostest.Zip(iostest.Plist(a), !a.Simulator)
		got, err := ios.Read(bytes.NewReader(text), int64(len(text)))
		if err != nil || got.BundleID != a.BundleID || got.Build != a.Build || got.Version != a.Version || got.Simulator != a.Simulator || got.IPA() == a.Simulator {
			t.Errorf("%+v: %+v, %v", a, got, err)
		}
	}
	for _, text := range []string{"", "<plist>", "bplist00", string(iostest.Plist(iostest.App{BundleID: "-x"})), strings.Repeat("x", 2<<20)} {
		if _, err := ios.ParseInfo([]byte(text)); err == nil {
			t.Errorf("%.20q was taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{simulators, phones, apps} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, _ := ios.ParseSimulators(text)
		more, _ := ios.ParsePhones(text)
		for _, l := range append(list, more...) {
			if !ios.ValidUDID(l.UDID) {
				t.Errorf("UDID %q", l.UDID)
			}
		}
		_, _ = ios.ParseApps(text)
	})
}

func FuzzParseInfo(f *testing.F) {
	for _, binary := range []bool{false, true} {
		f.Add(iostest.Plist(iostest.App{BundleID: "dev.qgjob.demo", Build: "1", Version: "1.0", Binary: binary}))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if info, err := ios.ParseInfo(text); err == nil && !ios.ValidBundleID(info.BundleID) {
			t.Errorf("bundle id %q", info.BundleID)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(iostest.Zip(iostest.Plist(iostest.App{BundleID: "dev.qgjob.demo", Build: "1"}), true))
	f.Fuzz(func(t *testing.T, text []byte) {
		if info, err := ios.Read(bytes.NewReader(text), int64(len(text))); err == nil && !strings.HasSuffix(info.Folder, ".app") {
			t.Errorf("folder %q", info.Folder)
		}
	})
}
