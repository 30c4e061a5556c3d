package browserstacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// begin is POST /session of the WebDriver protocol: it answers when the session
// runs, and that may take as long as the queue keeps it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Capabilities struct {
			AlwaysMatch map[string]any `json:"alwaysMatch"`
		} `json:"capabilities"`
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		refuseSession(w, "invalid argument")
		return
	}
	caps := m.Capabilities.AlwaysMatch
	url, _ := caps["appium:app"].(string)
	one, limit, why := s.enqueue(url)
	if why != "" {
		refuseSession(w, why)
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-one.ready: // closed: it runs
	case <-timer.C:
		if s.giveUp(one, true) {
			refuseSession(w, Dropped)
			return
		}
	case <-r.Context().Done():
		s.giveUp(one, false)
		return
	}
	answer(w, http.StatusOK, map[string]any{"value": map[string]any{"sessionId": one.id, "capabilities": caps}})
}

// enqueue takes a session in, which runs at once when the plan has room, or says
// why not.
func (s *Server) enqueue(url string) (one *session, limit time.Duration, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.apps, func(a app) bool { return a.URL == url }) {
		return nil, 0, NoApp
	}
	if s.running() >= s.parallel && len(s.queue) >= max(5, s.parallel) {
		return nil, 0, QueueFull
	}
	s.next++
	one = &session{id: fmt.Sprintf("%040x", s.next), app: url, status: "running", ready: make(chan struct{})}
	s.queue = append(s.queue, one)
	s.serve()
	s.busiest = max(s.busiest, s.running()+len(s.queue))
	return one, s.wait, ""
}

// serve lets those run for which there is room. The lock is held.
func (s *Server) serve() {
	for len(s.queue) > 0 && s.running() < s.parallel {
		one := s.queue[0]
		s.queue = s.queue[1:]
		one.running = true
		s.sessions[one.id] = one
		s.order = append(s.order, one.id)
		close(one.ready)
	}
}

// giveUp takes a session out of the queue; false when it runs by now.
func (s *Server) giveUp(one *session, drop bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.queue, one)
	if at < 0 {
		if !drop {
			one.running = false
			s.serve()
		}
		return false
	}
	s.queue = slices.Delete(s.queue, at, at+1)
	if drop {
		s.dropped++
	}
	return true
}

// end is DELETE /session/ID.
func (s *Server) end(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id]
	if one == nil || !one.running {
		answer(w, http.StatusNotFound, map[string]any{"value": map[string]any{"error": "invalid session id", "message": "the session has ended", "stacktrace": ""}})
		return
	}
	one.running = false
	if one.status == "running" {
		one.status = "done"
	}
	s.serve()
	answer(w, http.StatusOK, map[string]any{"value": nil})
}

func refuseSession(w http.ResponseWriter, why string) {
	answer(w, http.StatusInternalServerError, map[string]any{"value": map[string]any{
		"error": "session not created", "message": why, "stacktrace": "",
	}})
}
