// Package server is answering: one route table over the store, live streams,
// and the background loops that sweep leases and wake waiting agents.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/server/oidc"
	"github.com/qualgent/qgjob/internal/store"
)

// Config is what a Server is made of.
type Config struct {
	Store   *store.Store // opened with Options.Notify = Hub.Notify
	Hub     *Hub
	Blobs   Blobs
	Token   string         // the server's own, which may do everything; empty: tokens are asked for once the store has one
	Inner   string         // another such, for agents in the server's own process; it does not make the server ask for tokens
	OIDC    *oidc.Verifier // nil: no id-token of CI is taken
	Version string
	Telling Telling
	// HistoryAfter is how long after its end a run moves into history; 0 takes
	// DefaultHistoryAfter. Servers of the version before know no history: they
	// must be replaced within so long after the first of this one starts.
	HistoryAfter time.Duration
	// KeepHistory is how long after its end a run is deleted; 0: never. It must
	// not be shorter than KeepKeys.
	KeepHistory time.Duration
	Log         *slog.Logger // nil discards
}

// DefaultHistoryAfter leaves fresh runs, which people look at, repeat and
// compare, where they are, and a rolling upgrade its time.
const DefaultHistoryAfter = time.Hour

// Server answers HTTP. Make one with New, serve Handler, and keep Run going
// for as long as it answers.
type Server struct {
	Config
	mux      *http.ServeMux
	handler  http.Handler
	metrics  *metrics
	tokens   *tokenCache
	started  time.Time
	openapi  []byte        // the description of the API, as JSON
	stopping chan struct{} // closed once: long polls and streams end
	stop     func()        // closes stopping
}

// New makes a Server out of its parts. It starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil || cfg.Hub == nil || cfg.Blobs == nil {
		return nil, errors.New("server: Store, Hub and Blobs are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HistoryAfter == 0 {
		cfg.HistoryAfter = DefaultHistoryAfter
	}
	s := &Server{Config: cfg, mux: http.NewServeMux(), started: time.Now(), stopping: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	s.metrics = newMetrics(cfg.Store, cfg.Version, cfg.Log)
	s.tokens = newTokenCache(cfg.Store)
	cfg.Hub.Observe(s.metrics.observe)
	cfg.Hub.Observe(s.tokens.heard)
	if err := s.mount(); err != nil {
		return nil, err
	}
	s.handler = s.announce(s.sameOrigin(s.metrics.middleware(http.HandlerFunc(s.dispatch))))
	return s, nil
}

// Handler answers every request of the route table.
func (s *Server) Handler() http.Handler { return s.handler }

// dispatch finds the route; what is none gets a problem instead of the mux's
// own words.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if answer, pattern := s.mux.Handler(r); pattern == "" {
		s.lost(w, r, answer)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Run keeps the background loops going until ctx ends, then ends the long
// polls and streams, and waits for its loops.
func (s *Server) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	ttl := s.Store.LeaseTTL()
	for _, l := range []loop{
		s.sweepLeases(lease.NewWatch(ttl)),
		s.sweepAgents(lease.NewWatch(ttl)),
		s.wakeDelayed(),
		s.sweepBlobs(),
		s.sweepTokens(),
		s.recount(),
		s.moveHistory(),
		s.prune(),
		s.tell(),
		s.stopRuns(),
	} {
		loops.Go(func() { s.repeat(ctx, l) })
	}
	loops.Go(func() { s.wakeClaims(ctx) })
	loops.Wait()
	s.stop()
	return nil
}
