package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
)

const (
	readyPatience = 3 * time.Second // a database that takes longer does not answer
	readyFor      = time.Second     // how long an answer of /readyz counts
)

// healthRoutes tell supervisors and load balancers how the server is.
func (s *Server) healthRoutes() []route {
	ready := &readiness{check: s.checkReady}
	return []route{
		{Method: http.MethodGet, Pattern: "/healthz", Scope: scopeNone, Owner: ownerNobody, Handler: alive},
		{Method: http.MethodGet, Pattern: "/readyz", Scope: scopeNone, Owner: ownerNobody, Handler: func(w http.ResponseWriter, r *http.Request) {
			if err := ready.now(r.Context()); err != nil {
				s.writeProblem(w, r, err)
				return
			}
			answerJSON(w, healthAnswer{"ready"})
		}},
	}
}

// alive says that a restart would mend nothing.
func alive(w http.ResponseWriter, _ *http.Request) { answerJSON(w, healthAnswer{"ok"}) }

// answerJSON writes a value of ours, which always marshals.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

type healthAnswer struct {
	Status string `json:"status"`
}

// readiness asks database and disk at most once in readyFor, however often it
// is asked: the route is open to everybody.
type readiness struct {
	check func(context.Context) error
	mu    sync.Mutex
	at    time.Time
	err   error
}

func (c *readiness) now(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= readyFor {
		// The answer is for everybody, so one caller's leaving must not spoil it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyPatience)
		defer cancel()
		c.err, c.at = c.check(ctx), time.Now()
	}
	return c.err
}

// checkReady names what is wrong, and leaves the causes to the log.
func (s *Server) checkReady(ctx context.Context) error {
	var wrong []string
	var causes []error
	select {
	case <-s.stopping:
		wrong = append(wrong, "the server is stopping")
	default:
	}
	if err := s.Store.Ping(ctx); err != nil {
		wrong, causes = append(wrong, databaseTrouble(err)), append(causes, err)
	}
	if err := s.Blobs.Probe(ctx); err != nil {
		wrong, causes = append(wrong, "builds and artifacts cannot be stored"), append(causes, err)
	}
	if len(wrong) == 0 {
		return nil
	}
	cause := errors.Join(causes...)
	s.Log.Warn("not ready", "wrong", strings.Join(wrong, "; "), "error", cause)
	e := qgjob.Unavailable(cause, "not ready: %s", strings.Join(wrong, "; "))
	e.Hint = "the server's log has the causes"
	return e
}

// databaseTrouble is what may be said of a database to everybody.
func databaseTrouble(err error) string {
	if e, ok := errors.AsType[*qgjob.Error](err); ok && e.Kind == qgjob.KindUnavailable && strings.HasPrefix(e.Message, "the d") {
		return e.Message
	}
	return "the database does not answer"
}
