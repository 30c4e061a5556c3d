// Package browserstacktest is a BrowserStack App Automate that does not exist:
// uploads, plan, hub and sessions as the documentation describes them, its
// queue with its limit and its drop included.
//
// It imports nothing of ours.
package browserstacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// QueueTime is how long the real queue keeps a session that cannot begin
// (docs: "Queue your tests").
const QueueTime = 15 * time.Minute

// The words of the hub's refusals.
const (
	QueueFull = "All parallel tests are currently in use, including the queued tests. Please wait to finish or upgrade your plan to add more sessions."
	Dropped   = "Could not start the session: it was in the queue for more than 15 minutes"
	NoApp     = "[BROWSERSTACK_INVALID_APP_CAP] The app_url is invalid"
)

// Server answers as api-cloud.browserstack.com under /app-automate and as
// hub.browserstack.com under /wd/hub. Serve it with net/http; its methods may be
// called at any time. Times are those of package time, so that it runs in a
// synctest bubble.
type Server struct {
	user, key string

	mu       sync.Mutex
	parallel int
	wait     time.Duration
	apps     []app
	sessions map[string]*session
	order    []string
	queue    []*session
	others   int // sessions of others of the account
	busiest  int
	dropped  int
	uploads  map[string]int // by custom id
	calls    map[string]int // by method and first word of the path
	refuse   map[string][]int
	next     int
	broken   map[string]bool // sessions whose device broke
}

type app struct {
	Name     string `json:"app_name"`
	URL      string `json:"app_url"`
	ID       string `json:"app_id"`
	CustomID string `json:"custom_id"`
	At       string `json:"uploaded_at"`
}

type session struct {
	id, app, name, status string
	running               bool
	ready                 chan struct{} // closed when it runs
}

// New makes a server with an account whose plan runs so many sessions at once.
func New(user, key string, parallel int) *Server {
	return &Server{user: user, key: key, parallel: parallel, wait: QueueTime, sessions: map[string]*session{},
		uploads: map[string]int{}, calls: map[string]int{}, refuse: map[string][]int{}, broken: map[string]bool{}}
}

// SetQueueTime shortens the time that the queue keeps a session.
func (s *Server) SetQueueTime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait = d
}

// SetOthers says how many sessions others of the account run.
func (s *Server) SetOthers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = n
	s.serve()
}

// Refuse has the next calls of a kind ("GET plan.json", "POST upload", "POST
// session") answered with these statuses.
func (s *Server) Refuse(kind string, statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[kind] = append(s.refuse[kind], statuses...)
}

// Forget deletes all apps, as time does.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps = nil
}

// BreakDevice has a session's own status be "error" from now on.
func (s *Server) BreakDevice(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[id] = true
}

// Uploads counts the uploads by the custom id.
func (s *Server) Uploads() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for id, n := range s.uploads {
		out[id] = n
	}
	return out
}

// Calls counts the calls of a kind, as Refuse names them.
func (s *Server) Calls(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[kind]
}

// Busiest is the most sessions that ran or waited in the queue at once, those
// of others included.
func (s *Server) Busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busiest
}

// Dropped counts the sessions that the queue gave up.
func (s *Server) Dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Sessions lists the sessions that began, by id, with the app's custom id.
func (s *Server) Sessions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for _, id := range s.order {
		for _, a := range s.apps {
			if a.URL == s.sessions[id].app {
				out[id] = a.CustomID
			}
		}
	}
	return out
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, key, ok := r.BasicAuth()
	// The hub knows a running session by its id alone: AppWright 0.1.1 names itself only when it begins one.
	command := strings.HasPrefix(r.URL.Path, "/wd/hub/session/")
	if !command && (!ok || user != s.user || key != s.key) {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "Authorization required"})
		return
	}
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/app-automate/"), "/wd/hub/")
	word, rest, _ := strings.Cut(path, "/")
	kind := r.Method + " " + word
	if status := s.called(kind); status != 0 {
		w.Header().Set("Retry-After", "1")
		answer(w, status, map[string]any{"error": http.StatusText(status)})
		return
	}
	switch kind {
	case "POST upload":
		s.upload(w, r)
	case "GET recent_apps":
		s.recent(w, rest)
	case "GET plan.json":
		s.plan(w)
	case "GET sessions":
		s.details(w, strings.TrimSuffix(rest, ".json"))
	case "PUT sessions":
		s.mark(w, r, strings.TrimSuffix(rest, ".json"))
	case "POST session":
		s.begin(w, r)
	case "DELETE session":
		s.end(w, rest)
	default:
		answer(w, http.StatusNotFound, map[string]any{"error": "no such page"})
	}
}

func (s *Server) called(kind string) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[kind]++
	if list := s.refuse[kind]; len(list) > 0 {
		s.refuse[kind] = list[1:]
		return list[0]
	}
	return 0
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	f, header, err := r.FormFile("file")
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"error": "File or url is needed"})
		return
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil || !slices.ContainsFunc([]string{".apk", ".aab", ".ipa"}, func(end string) bool { return strings.HasSuffix(header.Filename, end) }) {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"error": "Invalid file format. Supported formats are apk, aab and ipa"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := fmt.Sprintf("%040x", s.next)
	a := app{Name: header.Filename, URL: "bs://" + id, ID: id, CustomID: r.FormValue("custom_id"),
		At: time.Now().UTC().Format("2006-01-02 15:04:05 MST")}
	s.apps = append([]app{a}, s.apps...)
	s.uploads[a.CustomID]++
	answer(w, http.StatusOK, map[string]any{"app_url": a.URL, "custom_id": a.CustomID, "shareable_id": s.user + "/" + a.CustomID})
}

func (s *Server) recent(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []app
	for _, a := range s.apps {
		if id == "" || a.CustomID == id {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		answer(w, http.StatusOK, map[string]any{"message": "No results found"})
		return
	}
	answer(w, http.StatusOK, list)
}

func (s *Server) running() int {
	n := s.others
	for _, one := range s.sessions {
		if one.running {
			n++
		}
	}
	return n
}

func (s *Server) plan(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{
		"automate_plan": "App Automate", "terminal_access": "Public", "parallel_sessions_running": min(s.running(), s.parallel),
		"team_parallel_sessions_max_allowed": s.parallel, "parallel_sessions_max_allowed": s.parallel,
		"queued_sessions": len(s.queue), "queued_sessions_max_allowed": max(5, s.parallel),
	})
}

// details are those of a session, as GET /sessions/ID.json gives them.
func (s *Server) details(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id]
	if one == nil {
		answer(w, http.StatusNotFound, map[string]any{"error": "Session not found"})
		return
	}
	own := "done"
	switch {
	case s.broken[id]:
		own = "error"
	case one.running:
		own = "running"
	}
	page := "https://app-automate.browserstack.com/builds/b1/sessions/" + id
	answer(w, http.StatusOK, map[string]any{"automation_session": map[string]any{
		"name": one.name, "duration": 39, "os": "android", "os_version": "14.0", "browser_version": "app", "browser": nil, "device": "Google Pixel 8",
		"status": one.status, "browserstack_status": own, "hashed_id": id, "reason": "CLIENT_STOPPED_SESSION", "build_name": "b", "project_name": "p",
		"logs": page + "/logs", "browser_url": page, "public_url": page + "?auth_token=t", "appium_logs_url": page + "/appiumlogs",
		"video_url": page + "/video?token=t", "device_logs_url": page + "/devicelogs",
		"app_details": map[string]any{"app_url": one.app, "app_name": "dev.qgjob.notes", "app_version": "1", "app_custom_id": "", "uploaded_at": ""},
	}})
}

// mark is PUT /sessions/ID.json: a test names its session or says how it ended.
func (s *Server) mark(w http.ResponseWriter, r *http.Request, id string) {
	var m struct{ Name, Status string }
	err := json.NewDecoder(r.Body).Decode(&m)
	s.mu.Lock()
	one := s.sessions[id]
	if err == nil && one != nil {
		one.name, one.status = orElse(m.Name, one.name), orElse(m.Status, one.status)
	}
	s.mu.Unlock()
	s.details(w, id)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}
