package adb

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Listed is a line of the server's list of devices.
type Listed struct {
	Serial string
	State  string // device, offline, unauthorized, recovery, …; only device can be used
	Model  string
}

// Ready reports whether the device takes commands.
func (l Listed) Ready() bool { return l.State == "device" }

// Emulator reports whether the serial is that of an emulator of the SDK.
func (l Listed) Emulator() bool { return strings.HasPrefix(l.Serial, "emulator-") }

var serialPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:\-\[\]%()]{0,127}$`)

// ValidSerial refuses text that no device has as its serial number, and that
// would change the meaning of a request.
func ValidSerial(s string) bool { return serialPattern.MatchString(s) }

// ParseDevices reads host:devices-l: a serial, a state and key:value pairs on
// each line. Lines that are no devices are left out.
func ParseDevices(text string) []Listed {
	var out []Listed
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || !ValidSerial(words[0]) {
			continue
		}
		l := Listed{Serial: words[0], State: words[1]}
		if l.State == "no" { // "no permissions (…)"
			l.State = "no permissions"
		}
		for _, w := range words[2:] {
			if model, ok := strings.CutPrefix(w, "model:"); ok {
				l.Model = model
			}
		}
		out = append(out, l)
	}
	return out
}

var packagePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$`)

// ValidPackage reports whether s is an application id as Android takes it (at
// least two parts of letters, digits and underscores).
func ValidPackage(s string) bool { return len(s) <= 223 && packagePattern.MatchString(s) }

// Package is what a device says of an installed app.
type Package struct {
	Name           string
	VersionCode    int64
	VersionName    string
	LastUpdateTime string // as the device writes it; changes with every install
	Path           string // of the base APK; changes with every install
}

// ParsePackage reads `dumpsys package NAME`. It answers false when the device
// does not have the package.
func ParsePackage(text, name string) (Package, bool) {
	p := Package{Name: name}
	inside, found := false, false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(trimmed, "Package ["); ok {
			head, _, _ := strings.Cut(rest, "]")
			// The second block of the same name is the factory version of an
			// updated system app.
			if inside = head == name && !found; inside {
				found = true
			}
			continue
		}
		if strings.HasPrefix(trimmed, "Hidden system packages:") {
			inside = false
		}
		if !inside {
			continue
		}
		if v, ok := strings.CutPrefix(trimmed, "versionCode="); ok && p.VersionCode == 0 {
			digits, _, _ := strings.Cut(v, " ")
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 {
				p.VersionCode = n
			}
		}
		if v, ok := strings.CutPrefix(trimmed, "versionName="); ok && p.VersionName == "" {
			p.VersionName = clean(v)
		}
		if v, ok := strings.CutPrefix(trimmed, "lastUpdateTime="); ok && p.LastUpdateTime == "" {
			p.LastUpdateTime = clean(v)
		}
	}
	return p, found
}

// ParsePath reads `pm path NAME`: the base APK, or "" when there is none.
func ParsePath(text string) string {
	first := ""
	for line := range strings.Lines(text) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "package:")
		if !ok {
			continue
		}
		if strings.HasSuffix(path, "/base.apk") {
			return path
		}
		if first == "" {
			first = path
		}
	}
	return first
}

// InstallError is a device's refusal of an app.
type InstallError struct {
	Code    string // INSTALL_FAILED_…, or "" when the device named none
	Message string // all that it said, on one line
}

// Error is the device's own words.
func (e *InstallError) Error() string { return "the device refuses the app: " + e.Message }

var installCode = regexp.MustCompile(`\b(INSTALL_[A-Z_]+|DELETE_[A-Z_]+)\b`)

// ParseInstall reads what `package install` and `package uninstall` print: nil
// for Success, else an *InstallError.
func ParseInstall(text string) error {
	last := ""
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			last = line
		}
	}
	if last == "Success" {
		return nil
	}
	e := &InstallError{Code: installCode.FindString(text), Message: brief(text)}
	if e.Message == "" {
		e.Message = "it ended the install without a word"
	}
	return e
}

// Battery is the state of a device's battery.
type Battery struct {
	Level   int  // percent; -1 when it has none or says none
	Powered bool // by a cable or a dock
}

// ParseBattery reads `dumpsys battery`.
func ParseBattery(text string) Battery {
	b := Battery{Level: -1}
	scale := 100
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		switch {
		case key == "level":
			if n, err := strconv.Atoi(value); err == nil && n >= 0 && n <= 1000 {
				b.Level = n
			}
		case key == "scale":
			if n, err := strconv.Atoi(value); err == nil && n > 0 && n <= 1000 {
				scale = n
			}
		case strings.HasSuffix(key, " powered") && value == "true":
			b.Powered = true
		case key == "present" && value == "false":
			b.Powered = true
		}
	}
	if b.Level >= 0 {
		b.Level = min(100, b.Level*100/scale)
	}
	return b
}

// ParseFree reads `df -k DIR`: the free space in bytes.
func ParseFree(text string) (int64, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) >= 2 {
		// A long device name has a line of its own, so the columns are counted
		// from the end: …, available, use%, mount.
		words := strings.Fields(strings.Join(lines[1:], " "))
		if len(words) >= 4 {
			n, err := strconv.ParseInt(words[len(words)-3], 10, 64)
			if err == nil && n >= 0 && n < 1<<52 {
				return n << 10, nil
			}
		}
	}
	return 0, fmt.Errorf("df prints %q", brief(text))
}

// ParseNetwork reads `dumpsys connectivity`: whether there is a default
// network. It answers true when the device says nothing of one.
func ParseNetwork(text string) bool {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Active default network:"); ok {
			return strings.TrimSpace(rest) != "none"
		}
	}
	return true
}

// ParseProps reads `getprop`: "[key]: [value]" on each line.
func ParseProps(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "]: [")
		if !ok || !strings.HasPrefix(key, "[") || !strings.HasSuffix(value, "]") {
			continue
		}
		out[key[1:]] = value[:len(value)-1]
	}
	return out
}
