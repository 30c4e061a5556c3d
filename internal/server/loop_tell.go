package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/hook"
	"github.com/qualgent/qgjob/internal/report"
	"github.com/qualgent/qgjob/internal/store"
)

const (
	tellEvery  = time.Second
	tellAtOnce = 8               // webhooks that are told at the same time
	tellWhile  = 2 * time.Minute // one server is the only one that tells a webhook
	tellMost   = 100             // messages of one round to one webhook
	tellRound  = 5 * time.Second // after which a slow one lets the next round begin
)

// Telling is who tells others of events, and on whose behalf. The zero value
// tells nobody.
type Telling struct {
	Webhooks  *hook.Sender // nil: none are told
	GitHub    *hook.GitHub // nil: GitHub is told of nothing
	Repos     map[qgjob.OrgID][]string
	PublicURL string // of this farm, for links; empty is no links
}

// tell tells webhooks and GitHub what happened. Each keeps its own place in
// the events, so that a deaf one holds up nobody else, and only one server at
// a time tells it.
func (s *Server) tell() loop {
	registered := map[qgjob.OrgID]bool{}
	return loop{"tell others", tellEvery, func(ctx context.Context) error {
		for org := range s.Telling.Repos {
			if s.Telling.GitHub != nil && !registered[org] {
				if err := s.Store.TellGitHub(ctx, org); err != nil {
					return err
				}
				registered[org] = true
			}
		}
		due, err := s.Store.DueTold(ctx)
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		slots := make(chan struct{}, tellAtOnce)
		for _, h := range due {
			if !s.Telling.covers(h) {
				continue
			}
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				if err := s.tellOne(ctx, h); err != nil && ctx.Err() == nil {
					s.Log.ErrorContext(ctx, "a webhook cannot be told", "webhook", h.ID, "error", err)
				}
			})
		}
		all.Wait()
		return nil
	}}
}

func (t Telling) covers(h store.Told) bool {
	if h.Kind == store.ToldGitHub {
		return t.GitHub != nil && len(t.Repos[h.OrgID]) > 0
	}
	return t.Webhooks != nil
}

// tellOne goes through the events that h was not told of yet, and stops at the
// first that it does not take.
func (s *Server) tellOne(ctx context.Context, h store.Told) error {
	taken, err := s.Store.TakeTold(ctx, &h, tellWhile)
	if err != nil || !taken {
		return err
	}
	begun := time.Now()
	events, err := s.Store.OrgEvents(ctx, h.OrgID, h.Cursor, qgjob.MaxPage)
	for told := 0; err == nil && len(events) > 0; events = events[1:] {
		e := events[0]
		if slices.Contains(h.Kinds, e.Kind) {
			if told == tellMost || time.Since(begun) > tellRound {
				break
			}
			told++
			if refused := s.tellEvent(ctx, h, e); refused != nil {
				s.putOff(ctx, &h, e, refused)
				break
			}
		}
		h.Cursor, h.Tries, h.NextAt, h.Problem = e.Seq, 0, nil, ""
	}
	// Whatever happened, the place is written and let go of.
	return errors.Join(err, s.Store.SaveTold(context.WithoutCancel(ctx), h))
}

// putOff has an event told again later. A webhook that is deaf for days is
// given up; what GitHub will not take is passed over.
func (s *Server) putOff(ctx context.Context, h *store.Told, e qgjob.Event, refused error) {
	if ctx.Err() != nil {
		return // the server stops; nobody refused anything
	}
	h.Tries++
	h.Problem = refused.Error()
	wait, again := hook.Pause(h.Tries, rand.Float64()) //nolint:gosec // spreads tries, nothing to guess
	switch {
	case h.Kind == store.ToldGitHub && (!again || errors.Is(refused, hook.ErrRefused)):
		s.Log.WarnContext(ctx, "GitHub is not told of a run", "org", h.OrgID, "run", e.RunID, "error", refused)
		h.Cursor, h.Tries, h.NextAt = e.Seq, 0, nil
	case !again:
		h.Disabled = true
		s.Log.WarnContext(ctx, "a webhook is given up", "org", h.OrgID, "webhook", h.ID, "error", refused)
	default:
		at := time.Now().Add(wait)
		h.NextAt = &at
	}
}

func (s *Server) tellEvent(ctx context.Context, h store.Told, e qgjob.Event) error {
	if h.Kind == store.ToldGitHub {
		return s.tellGitHub(ctx, h.OrgID, e)
	}
	message := qgjob.WebhookMessage{Type: e.Kind, Timestamp: e.At, Data: e}
	if e.Kind == qgjob.EventRunFinished {
		run, err := s.Store.Run(ctx, e.RunID)
		if err != nil {
			return err
		}
		message.Run = &run
	}
	return s.Telling.Webhooks.Send(ctx, h.Webhook, fmt.Sprintf("msg_%s_%d", h.ID, e.Seq), message)
}

// tellGitHub gives the run's commit a status, and its pull request a comment
// when the run has ended. The run is read as it is now: of two events that
// came fast, both tell the newer state.
func (s *Server) tellGitHub(ctx context.Context, org qgjob.OrgID, e qgjob.Event) error {
	run, err := s.Store.Run(ctx, e.RunID)
	if err != nil {
		return err
	}
	place, ok := hook.PlaceOf(run)
	if !ok || !slices.ContainsFunc(s.Telling.Repos[org], func(r string) bool { return strings.EqualFold(r, place.Repository) }) {
		return nil // of no repository, or of one that the org may not speak for
	}
	link := ""
	if s.Telling.PublicURL != "" {
		link = s.Telling.PublicURL + "/v1/runs/" + run.RunID.String() + "/report"
	}
	if err := s.Telling.GitHub.SetStatus(ctx, place, hook.StatusOf(run, place.Context, link)); err != nil {
		return err
	}
	if place.Pull == 0 || run.Conclusion == "" {
		return nil
	}
	run, jobs, err := s.jobReports(ctx, run.RunID)
	if err != nil {
		return err
	}
	var text strings.Builder
	// The summary writer fills a mebibyte; a comment takes 64 KiB.
	if err := report.WriteSummary(&text, run, jobs, report.SummaryOptions{Server: s.Telling.PublicURL, Taken: report.MaxSummary - commentRoom}); err != nil {
		return err
	}
	return s.Telling.GitHub.Comment(ctx, place, org, run.RunID, text.String())
}

// commentRoom is what a comment may hold, in bytes, less its mark.
const commentRoom = 60 << 10
