package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// An acknowledged result is kept for so long and so many, to be offered again
// when the server's database failed over: a standby that lagged may have lost
// it. A day is far more than standbys lag; a result has some kilobytes.
const (
	keptFor  = 24 * time.Hour
	keptMost = 500
)

// reigns hears, in every answer of the server, whose reign it is (see
// qgjob.ReignHeader).
type reigns struct {
	mu      sync.Mutex
	name    string
	changed chan struct{} // closed when name changes
}

func newReigns() *reigns { return &reigns{changed: make(chan struct{})} }

func (r *reigns) hear(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "" || name == r.name {
		return
	}
	r.name = name
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *reigns) now() (name string, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name, r.changed
}

// offerAgainLoop offers acknowledged results once more in each new reign,
// until ctx ends. The last reign is on disk, for a failover that comes while
// the agent is away; servers that hear of a failover one after the other may
// name the old one for a moment.
func (s *slot) offerAgainLoop(ctx context.Context) {
	path := filepath.Join(s.me.dir, "reign")
	last, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("read the last reign", "error", err)
	}
	known := []string{string(last)}
	for {
		name, changed := s.host.reigns.now()
		if name != "" && !slices.Contains(known, name) {
			if known[len(known)-1] != "" {
				s.offerAgain(ctx)
			}
			if ctx.Err() != nil {
				return
			}
			known = append(known, name)
			if err := disk.Replace(path, []byte(name)); err != nil {
				s.log.Error("remember the reign", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// offerAgain offers every result that is kept, the newest first: those are the
// likeliest to be lost. A server that has one says so by its digest, and
// nothing is counted twice.
func (s *slot) offerAgain(ctx context.Context) {
	kept, err := s.spool.kept()
	if err != nil {
		s.log.Error("read the results that are kept", "error", err)
	}
	s.log.Warn("the server's database failed over; acknowledged results are offered again", "results", len(kept))
	taken := 0
	for _, e := range kept {
		req := e.Complete
		req.AgentID, req.Incarnation, req.Installed, req.Next = s.id, s.me.incarnation, nil, nil
		_, err := s.deliver(ctx, e.LeaseID, req)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			taken++
		case notWanted(err):
			s.log.Info("a result that was acknowledged is not wanted any more", "job", e.JobID.String(), "outcome", req.Outcome, "error", err)
		default:
			s.log.Warn("a result is not offered again", "job", e.JobID.String(), "outcome", req.Outcome, "error", err)
		}
	}
	s.log.Info("acknowledged results were offered again", "taken", taken, "of", len(kept))
}

// deliver brings a result to the server, however long it takes. A failover may
// have lost the start, too, which was acknowledged before the test began: then
// that is repeated first.
func (s *slot) deliver(ctx context.Context, id qgjob.LeaseID, req qgjob.CompleteRequest) (qgjob.CompleteResponse, error) {
	complete := func(ctx context.Context) (qgjob.CompleteResponse, error) { return s.server.Complete(ctx, id, req) }
	res, err := patiently(ctx, s, "complete", someFaults, complete)
	if qgjob.CodeOf(err) != qgjob.CodeNotStarted {
		return res, err
	}
	s.log.Warn("the server has lost the start of a test that has ended; it is told again", "lease", id)
	if _, err := patiently(ctx, s, "start", someFaults, func(ctx context.Context) (qgjob.StartResponse, error) {
		return s.server.Start(ctx, id, qgjob.StartRequest{AgentID: s.id, Incarnation: req.Incarnation})
	}); err != nil {
		return res, err
	}
	return patiently(ctx, s, "complete", someFaults, complete)
}

// keep moves a result that was acknowledged to those that are kept.
func (s *spool) keep(id qgjob.LeaseID) error {
	if err := os.Rename(s.path(id), filepath.Join(s.dir, "kept", string(id)+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.since++; s.since%(keptMost/4) != 0 {
		return nil
	}
	return s.prune(time.Now())
}

// prune forgets what is kept too long, and the oldest of too many.
func (s *spool) prune(now time.Time) error {
	ids, times, err := s.listKept()
	if err != nil {
		return err
	}
	var errs []error
	for i, id := range ids {
		if i >= keptMost || now.Sub(times[id]) > keptFor {
			errs = append(errs, disk.Remove(filepath.Join(s.dir, "kept", string(id)+".json")))
		}
	}
	return errors.Join(errs...)
}

// listKept names what is kept, the newest first.
func (s *spool) listKept() (ids []qgjob.LeaseID, times map[qgjob.LeaseID]time.Time, err error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "kept"))
	if err != nil {
		return nil, nil, err
	}
	times = map[qgjob.LeaseID]time.Time{}
	for _, entry := range entries {
		info, err := entry.Info()
		name := entry.Name()
		if err != nil || filepath.Ext(name) != ".json" {
			continue // it has gone meanwhile, or is none of ours
		}
		id := qgjob.LeaseID(name[:len(name)-len(".json")])
		ids, times[id] = append(ids, id), info.ModTime()
	}
	slices.SortStableFunc(ids, func(a, b qgjob.LeaseID) int { return times[b].Compare(times[a]) })
	return ids, times, nil
}

// kept gives the results that were acknowledged not long ago, the newest
// first. One that cannot be read is passed over: the server has it as a rule.
func (s *spool) kept() ([]spooled, error) {
	if err := s.prune(time.Now()); err != nil {
		return nil, err
	}
	ids, _, err := s.listKept()
	if err != nil {
		return nil, err
	}
	var out []spooled
	for _, id := range ids {
		e, err := (&spool{dir: filepath.Join(s.dir, "kept")}).read(id)
		if err != nil {
			s.log.Warn("a kept result cannot be read", "error", fmt.Errorf("%s: %w", id, err))
			continue
		}
		out = append(out, e)
	}
	return out, nil
}
