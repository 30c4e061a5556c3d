package browserstack

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// EnvJournal names the variable with the file in which a test notes its
// sessions, a line of JSON each: {"session":"ID"} when one has begun and
// {"ended":"ID"} when it has ended. AppWright's hook does; other programs may.
const EnvJournal = "QGJOB_SESSIONS"

// Bounds on a journal.
const (
	maxJournal  = 1 << 20 // bytes
	maxSessions = 50      // whose links are asked for
)

// Journal is the file of EnvJournal of one attempt.
type Journal struct{ path string }

// NewJournal is at an absolute path; the file need not be there.
func NewJournal(path string) *Journal { return &Journal{path} }

// Path is where it is.
func (j *Journal) Path() string { return j.path }

// Env names the file for a test.
func (j *Journal) Env() string { return EnvJournal + "=" + j.path }

// Running counts the sessions that have begun and not ended. told is false when
// nothing was noted.
func (j *Journal) Running() (n int, told bool) {
	begun, ended := parseJournal(j.read())
	for _, id := range begun {
		if !slices.Contains(ended, id) {
			n++
		}
	}
	return n, len(begun) > 0
}

// Sessions lists the sessions that have begun, in that order.
func (j *Journal) Sessions() []string {
	begun, _ := parseJournal(j.read())
	return begun
}

// read gives nothing for what is no file of a bounded size: a test may write
// what it likes.
func (j *Journal) read() []byte {
	root, err := os.OpenRoot(filepath.Dir(j.path))
	if err != nil {
		return nil
	}
	defer root.Close()
	name := filepath.Base(j.path)
	st, err := root.Lstat(name)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxJournal {
		return nil
	}
	text, err := root.ReadFile(name)
	if err != nil {
		return nil
	}
	return text
}

// parseJournal passes over lines that are none, and takes each session once.
func parseJournal(text []byte) (begun, ended []string) {
	for line := range bytes.Lines(text) {
		var l struct {
			Session string `json:"session"`
			Ended   string `json:"ended"`
		}
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		if sessionID.MatchString(l.Session) && !slices.Contains(begun, l.Session) && len(begun) < maxSessions {
			begun = append(begun, l.Session)
		}
		if sessionID.MatchString(l.Ended) && slices.Contains(begun, l.Ended) {
			ended = append(ended, l.Ended)
		}
	}
	return begun, ended
}

// Session is what BrowserStack knows of a session (GET /sessions/ID.json). Its
// links are BrowserStack's own text.
type Session struct {
	ID         string `json:"hashed_id"`
	Name       string `json:"name"`
	Build      string `json:"build_name"`
	Device     string `json:"device"`
	OS         string `json:"os"`
	OSVersion  string `json:"os_version"`
	Status     string `json:"status"`              // as the test marked it
	OwnStatus  string `json:"browserstack_status"` // running, done, error, timeout
	Reason     string `json:"reason"`
	DurationS  int    `json:"duration"`
	BrowserURL string `json:"browser_url"` // for people with a login
	PublicURL  string `json:"public_url"`
	VideoURL   string `json:"video_url"`
	Logs       string `json:"logs"`
	AppiumLogs string `json:"appium_logs_url"`
	DeviceLogs string `json:"device_logs_url"`
}

// Broke reports whether BrowserStack itself says that its device broke: then
// the test was not heard to the end.
func (s Session) Broke() bool { return strings.EqualFold(s.OwnStatus, "error") }
