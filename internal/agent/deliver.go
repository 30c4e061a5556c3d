package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob"
)

// finish makes the attempt's result safe and brings it to the server. It
// answers what was offered with the acknowledgement. streamed ends with the
// log; nil when there is none.
func (a *attempt) finish(claims context.Context, last bool, streamed <-chan error) *qgjob.ClaimResponse {
	s := a.slot
	e := spooled{LeaseID: a.offer.LeaseID, JobID: a.offer.Job.JobID, At: time.Now().UTC()}
	if streamed != nil {
		var notes []string
		a.hide()
		e.Artifacts, notes = collect(a.dir)
		for _, note := range notes {
			a.log.note("%s", note)
		}
		tie(a.done.Tests, a.left, a.dir, e.Artifacts)
	}
	if err := a.seal(); err != nil {
		a.slog.Error("the result cannot be written", "error", err)
		return nil
	}
	e.Complete = a.done
	if err := s.spool.put(e); err != nil {
		a.slog.Error("the result is not safe from a crash", "error", err)
	}
	a.slog.Info("ended", "outcome", a.done.Outcome, "reason", a.done.Reason, "install", a.done.Install, "test_ms", a.done.TestMS)
	ctx, cancel := s.finishing()
	defer cancel()
	if streamed != nil {
		a.log.finish()
		if err := <-streamed; err != nil && ctx.Err() == nil {
			a.slog.Warn("the log is not whole on the server", "error", err)
		}
	}
	s.uploadAll(ctx, e)
	drained, _ := s.isDrained()
	next, err := s.complete(ctx, e, s.me.incarnation, last && !drained && !s.out() && s.host.cloud == nil && claims.Err() == nil)
	if err := s.settle(e, err); err != nil {
		a.slog.Error("the result is not delivered; it is kept and offered again", "error", err)
	}
	return next
}

// post is the way of the attempt's log to the server.
func (a *attempt) post(ctx context.Context, offset int64, chunk []byte) (qgjob.LogResponse, error) {
	return a.slot.postLog(ctx, a.offer.LeaseID, offset, chunk)
}

func (s *slot) postLog(ctx context.Context, id qgjob.LeaseID, offset int64, chunk []byte) (qgjob.LogResponse, error) {
	return patiently(ctx, s, "log", someFaults, func(ctx context.Context) (qgjob.LogResponse, error) {
		return s.server.AppendLog(ctx, id, offset, chunk)
	})
}

// uploadAll sends what the attempt left. An artifact that cannot be sent must
// not keep the verdict back.
func (s *slot) uploadAll(ctx context.Context, e spooled) {
	dir := s.workDir(e.LeaseID)
	for _, a := range e.Artifacts {
		_, err := patiently(ctx, s, "artifact", someFaults, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.upload(ctx, dir, e.LeaseID, a)
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("an artifact is not uploaded", "job", e.JobID.String(), "name", a.Name, "error", err)
		}
		if notWanted(err) {
			return // the lease is not known: nor will the others be taken
		}
	}
}

// complete offers a result until the server has answered it. With wantNext it
// claims in the same request.
func (s *slot) complete(ctx context.Context, e spooled, incarnation int64, wantNext bool) (*qgjob.ClaimResponse, error) {
	req := e.Complete
	req.AgentID, req.Incarnation, req.Installed = s.id, incarnation, s.installed.Load()
	if wantNext {
		req.Next = s.claimRequest()
	}
	res, err := s.completeOnce(ctx, e.LeaseID, req)
	if err != nil && waitable(err) && ctx.Err() == nil {
		res, err = patiently(ctx, s, "complete", someFaults, func(ctx context.Context) (qgjob.CompleteResponse, error) {
			return s.server.Complete(ctx, e.LeaseID, req)
		})
	}
	if qgjob.CodeOf(err) == qgjob.CodeNotStarted {
		req.Next = nil
		res, err = s.deliver(ctx, e.LeaseID, req)
	}
	if err != nil && qgjob.KindOf(err) == qgjob.KindInvalid && len(req.Tests) > 0 {
		s.log.Error("the server refuses the details of a result; the verdict is sent without them", "job", e.JobID.String(), "error", err)
		req.Tests, req.Digest = nil, digest(req.Digest)
		req.Message = clip(req.Message+"\n(the server refused the details: "+err.Error()+")", qgjob.MaxMessage)
		res, err = s.server.Complete(ctx, e.LeaseID, req)
	}
	if err != nil || res.Next == nil {
		return nil, err
	}
	s.take(res.Next)
	s.setDrained(res.Next.Drain)
	return res.Next, nil
}

// completeOnce is the first try, during which no renewal can give back what is
// offered with its answer. It is short, for renewals must go on.
func (s *slot) completeOnce(ctx context.Context, id qgjob.LeaseID, req qgjob.CompleteRequest) (qgjob.CompleteResponse, error) {
	interval, _ := s.pace()
	s.gate.Lock()
	defer s.gate.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(2*interval, 2*time.Second))
	defer cancel()
	res, err := s.once.Complete(ctx, id, req)
	if err == nil && res.Next != nil {
		s.take(res.Next)
	}
	if ctx.Err() != nil && err != nil {
		err = qgjob.Unavailable(err, "complete %s: no answer in time", id)
	}
	return res, err
}

// settle forgets a result that the server has, or will never want. Any other
// error stays, and with it the result.
func (s *slot) settle(e spooled, err error) error {
	switch {
	case err == nil:
	case notWanted(err):
		s.log.Warn("the server has no use for a result", "job", e.JobID.String(), "lease", e.LeaseID, "outcome", e.Complete.Outcome, "error", err)
	case qgjob.KindOf(err) == qgjob.KindInvalid:
		s.spool.setAside(string(e.LeaseID)+".json", err)
	case qgjob.CodeOf(err) == qgjob.CodeAgentSuperseded:
		s.superseded(err)
		return err
	default:
		return err
	}
	forget := s.spool.remove
	if name, _ := s.host.reigns.now(); err == nil && name != "" {
		forget = s.spool.keep // a failover may lose it over there
	}
	if err := forget(e.LeaseID); err != nil {
		return fmt.Errorf("forget a delivered result: %w", err)
	}
	s.removeWork(e.LeaseID)
	return nil
}

// notWanted are the refusals that no repetition changes.
func notWanted(err error) bool {
	switch qgjob.CodeOf(err) {
	case qgjob.CodeAgentSuperseded, qgjob.CodeAgentUnknown, qgjob.CodeOffset:
		return false
	}
	kind := qgjob.KindOf(err)
	return err != nil && (kind == qgjob.KindConflict || kind == qgjob.KindNotFound)
}

// deliverSpooled offers what is in the spool: under the given incarnation, or
// with 0 each result under the one that ran it. What cannot be delivered now
// stays.
func (s *slot) deliverSpooled(ctx context.Context, incarnation int64) {
	kept, err := s.spool.list(time.Now())
	if err != nil {
		s.log.Error("read the spool", "error", err)
	}
	for _, e := range kept {
		as := incarnation
		if as == 0 {
			as = e.Complete.Incarnation
		}
		s.streamSpooled(ctx, e)
		s.uploadAll(ctx, e)
		_, err := s.complete(ctx, e, as, false)
		switch {
		case ctx.Err() != nil:
			return
		case incarnation == 0 && qgjob.CodeOf(err) == qgjob.CodeAgentSuperseded:
			continue // offered again once the new incarnation is registered
		}
		if err := s.settle(e, err); err != nil {
			s.log.Warn("a spooled result is not delivered yet", "job", e.JobID.String(), "error", err)
			continue
		}
		s.log.Info("delivered a spooled result", "job", e.JobID.String(), "outcome", e.Complete.Outcome)
	}
}

// streamSpooled sends the rest of the log of a spooled result.
func (s *slot) streamSpooled(ctx context.Context, e spooled) {
	log, err := openLog(filepath.Join(s.workDir(e.LeaseID), logName))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		defer log.close()
		err = log.stream(ctx, func(ctx context.Context, offset int64, chunk []byte) (qgjob.LogResponse, error) {
			return s.postLog(ctx, e.LeaseID, offset, chunk)
		})
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("the log is not whole on the server", "job", e.JobID.String(), "error", err)
	}
}

func (s *slot) workDir(id qgjob.LeaseID) string {
	return filepath.Join(s.me.dir, "work", string(id))
}

func (s *slot) removeWork(id qgjob.LeaseID) {
	if err := os.RemoveAll(s.workDir(id)); err != nil {
		s.log.Warn("remove the attempt's folder", "error", err)
	}
}

// sweepWork removes what attempts without a result left behind.
func (s *slot) sweepWork() error {
	kept, err := s.spool.list(time.Now())
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, e := range kept {
		keep[string(e.LeaseID)] = true
	}
	entries, err := os.ReadDir(filepath.Join(s.me.dir, "work"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if keep[entry.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.me.dir, "work", entry.Name())); err != nil {
			s.log.Warn("remove what an attempt left", "error", err)
		}
	}
	return nil
}
