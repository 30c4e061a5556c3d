// Package iostest is a Mac with simulators and phones, for tests: it takes what
// xcrun takes and answers in Apple's formats.
package iostest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/qualgent/qgjob/internal/agent/ios"
	"howett.net/plist"
)

// App is a build to make.
type App struct {
	BundleID, Build, Version string
	Simulator                bool
	Binary                   bool // its Info.plist is binary
}

// Plist is the app's Info.plist.
func Plist(a App) []byte {
	platform, format := "iPhoneOS", plist.XMLFormat
	if a.Simulator {
		platform = "iPhoneSimulator"
	}
	if a.Binary {
		format = plist.BinaryFormat
	}
	text, err := plist.Marshal(map[string]any{
		"CFBundleIdentifier": a.BundleID, "CFBundleVersion": a.Build, "CFBundleShortVersionString": a.Version,
		"CFBundleSupportedPlatforms": []string{platform}, "UIDeviceFamily": []int{1, 2},
	}, format)
	if err != nil {
		panic(err)
	}
	return text
}

// Zip is a zip of Demo.app, or an .ipa, with the given Info.plist.
func Zip(text []byte, ipa bool) []byte {
	folder := "Demo.app/"
	if ipa {
		folder = "Payload/Demo.app/"
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, content := range map[string][]byte{folder + "Info.plist": text, folder + "Demo": []byte("program"), folder + "Watch/W.app/Info.plist": []byte("another")} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Mac answers like xcrun.
type Mac struct {
	Dir     string            // where apps are installed
	Devices []ios.Listed      // what is there
	Refuse  map[string]string // what a command that contains the key fails with

	mu    sync.Mutex
	calls []string
	apps  map[string]installed // by UDID and bundle id
	n     int
}

type installed struct {
	where string
	info  ios.Info
}

// Calls gives what was said since the last time, one command a line, with files
// by their base names.
func (m *Mac) Calls() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := strings.Join(m.calls, "\n")
	m.calls = nil
	return text
}

// Forget takes an app away behind the agent's back.
func (m *Mac) Forget(udid, bundle string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.apps, udid+" "+bundle)
}

// Run is ios.Run.
func (m *Mac) Run(_ context.Context, argv []string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	words := slices.Clone(argv)
	for i, w := range words {
		if filepath.IsAbs(w) {
			words[i] = filepath.Base(w)
		}
	}
	line := strings.Join(words, " ")
	m.calls = append(m.calls, line)
	for key, said := range m.Refuse {
		if strings.Contains(line, key) {
			return nil, fmt.Errorf("%s: exit status 1: %s", line, said)
		}
	}
	if len(argv) < 4 || argv[0] != "xcrun" {
		return nil, fmt.Errorf("no command: %s", line)
	}
	if argv[1] == "simctl" {
		return m.simctl(argv[2], argv[3:])
	}
	return nil, m.devicectl(argv[2:])
}

func (m *Mac) simctl(verb string, args []string) ([]byte, error) {
	if verb == "list" {
		return m.simulators(), nil
	}
	i := slices.IndexFunc(m.Devices, func(l ios.Listed) bool { return l.UDID == args[0] })
	if i < 0 {
		return nil, fmt.Errorf("Invalid device: %s", args[0]) //nolint:staticcheck // Apple's words
	}
	udid := args[0]
	switch verb {
	case "bootstatus":
		m.Devices[i].State = "Booted"
	case "install":
		return nil, m.install(udid, args[1])
	case "uninstall":
		delete(m.apps, udid+" "+args[1])
	case "get_app_container", "launch", "terminate":
		app, ok := m.apps[udid+" "+args[1]]
		if !ok {
			return nil, fmt.Errorf("an error was encountered processing the command (domain=NSPOSIXErrorDomain, code=2): No such file or directory")
		}
		return []byte(app.where + "\n"), nil
	case "io":
		return nil, os.WriteFile(args[len(args)-1], []byte("\x89PNG\r\n\x1a\n"), 0o600)
	case "spawn":
		return []byte("Timestamp  Thread  Type  Activity  PID  TTL\n"), nil
	default:
		return nil, fmt.Errorf("Unrecognized subcommand: %s", verb) //nolint:staticcheck // Apple's words
	}
	return nil, nil
}

// install reads the app as the device would and gives it a folder of its own.
func (m *Mac) install(udid, app string) error {
	var info ios.Info
	var err error
	if filepath.Ext(app) == ".ipa" {
		info, err = ios.Open(app)
	} else {
		var text []byte
		if text, err = os.ReadFile(filepath.Join(app, "Info.plist")); err == nil {
			info, err = ios.ParseInfo(text)
		}
	}
	if err != nil {
		return err
	}
	m.n++
	where := filepath.Join(m.Dir, fmt.Sprintf("%08d", m.n), "Demo.app")
	if err := os.MkdirAll(where, 0o700); err != nil {
		return err
	}
	if m.apps == nil {
		m.apps = map[string]installed{}
	}
	m.apps[udid+" "+info.BundleID] = installed{where, info}
	return os.WriteFile(filepath.Join(where, "Info.plist"), Plist(App{info.BundleID, info.Build, info.Version, info.Simulator, false}), 0o600)
}

func (m *Mac) simulators() []byte {
	list := map[string][]map[string]any{"com.apple.CoreSimulator.SimRuntime.watchOS-10-2": {{"udid": "0E0E0E0E-0000-0000-0000-000000000000", "name": "Apple Watch", "state": "Booted", "isAvailable": true}}}
	for _, l := range m.Devices {
		if l.Simulator {
			key := "com.apple.CoreSimulator.SimRuntime.iOS-" + strings.ReplaceAll(l.OS, ".", "-")
			list[key] = append(list[key], map[string]any{"udid": l.UDID, "name": l.Name, "state": l.State, "isAvailable": l.Available, "dataPathSize": 1})
		}
	}
	text, err := json.Marshal(map[string]any{"devices": list})
	if err != nil {
		panic(err)
	}
	return text
}

func (m *Mac) devicectl(words []string) error {
	verb, last := strings.Join(words[:min(3, len(words))], " "), words[len(words)-1]
	var result any
	switch verb {
	case "list devices --json-output":
		var list []any
		for _, l := range m.Devices {
			pairing := "unpaired"
			if l.Available {
				pairing = "paired"
			}
			list = append(list, map[string]any{
				"hardwareProperties":   map[string]any{"udid": l.UDID, "marketingName": l.Name, "platform": "iOS"},
				"deviceProperties":     map[string]any{"osVersionNumber": l.OS},
				"connectionProperties": map[string]any{"pairingState": pairing, "tunnelState": l.State},
			})
		}
		result = map[string]any{"devices": list}
	case "device install app":
		return m.install(words[4], last)
	case "device uninstall app":
		delete(m.apps, words[4]+" "+last)
		return nil
	case "device info apps":
		apps := []ios.App{}
		for key, app := range m.apps {
			if strings.HasPrefix(key, words[4]+" ") {
				apps = append(apps, ios.App{BundleID: app.info.BundleID, Build: app.info.Build, Version: app.info.Version, URL: "file://" + app.where})
			}
		}
		result = map[string]any{"apps": apps}
	default:
		return fmt.Errorf("Error: unexpected argument: %s", verb) //nolint:staticcheck // Apple's words
	}
	text, err := json.Marshal(map[string]any{"info": map[string]any{"outcome": "success", "jsonVersion": 2}, "result": result})
	if err != nil {
		return err
	}
	return os.WriteFile(last, text, 0o600)
}
