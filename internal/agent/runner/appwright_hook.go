package runner

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

//go:embed appwright_hook.cjs
var hookSource []byte

const (
	hookName      = "qgjob-appwright.cjs"
	settingsName  = "hook.json"
	handshakeName = "handshake.jsonl"
	maxHandshake  = 4 << 20 // bytes
)

// hookSettings is the hook's side of the handshake; appwright_hook.cjs reads
// it.
type hookSettings struct {
	Handshake string         `json:"handshake"`
	Server    hookServer     `json:"server"`
	Set       map[string]any `json:"set"`
	Drop      []string       `json:"drop"`
	Package   string         `json:"package"`
	Activity  string         `json:"activity"`
	Cloud     *hookCloud     `json:"cloud,omitempty"`
}

// hookCloud is Cloud as the hook reads it.
type hookCloud struct {
	Cloud
	Server *hookServer // of the hub; nil: AppWright's own
}

// hubServer splits an address of a hub.
func hubServer(hub string) *hookServer {
	u, err := url.Parse(hub)
	if err != nil || hub == "" {
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil
	}
	return &hookServer{Protocol: u.Scheme, Hostname: u.Hostname(), Port: port, Path: "/wd/hub"}
}

// hookServer replaces AppWright's localhost:4723 (webdriver: Options).
type hookServer struct {
	Protocol string `json:"protocol"`
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Path     string `json:"path"`
}

// hookEnv writes hook and settings into work and gives the environment that
// loads them.
func hookEnv(work string, env []string, s hookSettings) ([]string, error) {
	file := filepath.Join(work, hookName)
	err := errors.Join(
		os.MkdirAll(work, 0o700),
		os.WriteFile(file, hookSource, 0o600),
		writeJSON(filepath.Join(work, settingsName), s),
	)
	if err != nil {
		return nil, fmt.Errorf("write AppWright's hook: %w", err)
	}
	env = withNodeOption(env, nodeRequire(file))
	return append(env, "QGJOB_APPWRIGHT_HOOK="+filepath.Join(work, settingsName)), nil
}

// hookNote is a line of the handshake file.
type hookNote struct {
	Event   string   `json:"event"` // patched, misfit, session, escaped
	File    string   `json:"file"`
	Version string   `json:"version"` // of AppWright
	Missing []string `json:"missing"`
	Command string   `json:"command"`
	UDID    string   `json:"udid"`
	Port    int      `json:"port"`
}

// handshake is what the hook said of itself.
type handshake []hookNote

// hooked are the files without whose patch AppWright runs an Appium of its
// own.
var hooked = []string{"providers/appium.js", "providers/emulator/index.js", "providers/local/index.js"}

// hookedCloud is the file without whose patch AppWright uploads the build for
// every run, and tells nobody of its sessions.
var hookedCloud = []string{"providers/browserstack/index.js"}

// readHandshake never fails: what cannot be read is no handshake.
func readHandshake(work string) handshake {
	root, err := os.OpenRoot(work)
	if err != nil {
		return nil
	}
	defer root.Close()
	st, err := root.Lstat(handshakeName)
	if errors.Is(err, fs.ErrNotExist) || err != nil || !st.Mode().IsRegular() || st.Size() > maxHandshake {
		return nil
	}
	text, err := root.ReadFile(handshakeName)
	if err != nil {
		return nil
	}
	return parseHandshake(text)
}

// parseHandshake passes over lines that are none: a process that is killed
// leaves half of one.
func parseHandshake(text []byte) handshake {
	var out handshake
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var n hookNote
		if json.Unmarshal(lines.Bytes(), &n) == nil && n.Event != "" {
			out = append(out, n)
		}
	}
	return out
}

// misfit says why the hook does not hold this AppWright, or "".
func (h handshake) misfit(cloud bool) string {
	needed := hooked
	if cloud {
		needed = hookedCloud
	}
	var patched []string
	for _, n := range h {
		switch n.Event {
		case "misfit":
			return fmt.Sprintf("the hook does not fit AppWright %s: it has no %s in %s; run the agent with --appwright-mode=stock",
				n.Version, strings.Join(n.Missing, ", "), n.File)
		case "escaped":
			return fmt.Sprintf("AppWright tried to run %q past the hook; run the agent with --appwright-mode=stock", n.Command)
		case "patched":
			patched = append(patched, n.File)
		}
	}
	for _, file := range needed {
		if !slices.Contains(patched, file) {
			return fmt.Sprintf("the hook did not find AppWright's dist/%s; run npm ci in the project, or the agent with --appwright-mode=stock", file)
		}
	}
	return ""
}
