package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/qualgent/qgjob"
)

// jobLog gives the bytes of one attempt's log from an offset. Without follow
// it is what is there now, and Content-Length shows a cut connection.
func (s *Server) jobLog(w http.ResponseWriter, r *http.Request) {
	q, err := readLogQuery(r)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	a, err := s.logAttempt(r.Context(), q)
	switch {
	case err != nil:
		s.writeProblem(w, r, err)
		return
	case q.offset > a.LogBytes && !q.follow:
		e := qgjob.Conflict(qgjob.CodeOffset, "the log of attempt %d of %s is %d bytes long, not %d", a.Number, q.job, a.LogBytes, q.offset)
		e.Offset = a.LogBytes
		s.writeProblem(w, r, e)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", sandboxed)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Attempt", strconv.Itoa(a.Number))
	h.Set("X-Log-Length", strconv.FormatInt(a.LogBytes, 10))
	if !q.follow {
		h.Set("Content-Length", strconv.FormatInt(a.LogBytes-q.offset, 10))
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := &sse{w: w, rc: http.NewResponseController(w)}
	if q.follow {
		s.followPlain(r.Context(), out, &a, q.offset)
		return
	}
	for q.offset < a.LogBytes {
		data, err := s.Store.Log(r.Context(), a.LeaseID, q.offset, logPage)
		if err != nil || len(data) == 0 {
			return // fewer bytes than announced: the client sees that it was cut
		}
		data = data[:min(int64(len(data)), a.LogBytes-q.offset)]
		if out.send(data) != nil {
			return
		}
		q.offset += int64(len(data))
	}
}

// logQuery is what GET …/log is asked for.
type logQuery struct {
	job     qgjob.JobID
	attempt int
	offset  int64
	follow  bool
}

func readLogQuery(r *http.Request) (q logQuery, err error) {
	if q.job, err = qgjob.ParseJobID(r.PathValue("job_id")); err != nil {
		return q, err
	}
	n, err := queryNumber(r, "attempt", 31)
	if err != nil {
		return q, err
	}
	q.attempt = int(n)
	if q.offset, err = queryNumber(r, "offset", 64); err != nil {
		return q, err
	}
	q.follow, err = queryFlag(r, "follow")
	return q, err
}

// logAttempt finds the attempt asked for. A follower of a job that waits gets
// its first attempt as soon as there is one; when the job ends without any,
// the answer is not_found.
func (s *Server) logAttempt(ctx context.Context, q logQuery) (qgjob.Attempt, error) {
	job, err := s.Store.Job(ctx, q.job)
	if err != nil {
		return qgjob.Attempt{}, err
	}
	rings, cancel := s.Hub.SubscribeRun(job.RunID)
	defer cancel()
	p := s.newPulse()
	defer p.stop()
	for {
		a, err := s.Store.Attempt(ctx, q.job, q.attempt)
		if qgjob.KindOf(err) != qgjob.KindNotFound || q.attempt != 0 || !q.follow || job.Status.Terminal() {
			return a, err
		}
		if !p.wait(ctx, nil, rings) {
			return a, qgjob.Unavailable(ctx.Err(), "%s has no attempt yet, and the server is stopping", q.job)
		}
		if job, err = s.Store.Job(ctx, q.job); err != nil {
			return a, err
		}
	}
}

// followPlain sends an attempt's log as it grows, until the attempt has ended.
func (s *Server) followPlain(ctx context.Context, out *sse, a *qgjob.Attempt, offset int64) {
	grown, cancelLog := s.Hub.SubscribeLog(a.LeaseID)
	defer cancelLog()
	job, err := s.Store.Job(ctx, a.JobID)
	if err != nil {
		return
	}
	rings, cancelRun := s.Hub.SubscribeRun(job.RunID)
	defer cancelRun()
	p := s.newPulse()
	defer p.stop()
	if out.rc.Flush() != nil {
		return
	}
	for {
		now, err := s.Store.Attempt(ctx, a.JobID, a.Number)
		if err != nil {
			return
		}
		data, err := s.Store.Log(ctx, a.LeaseID, offset, logPage)
		if err != nil {
			return
		}
		offset += int64(len(data))
		if len(data) > 0 && out.send(data) != nil {
			return
		}
		if len(data) > 0 {
			continue
		}
		// No heartbeats here: every byte of this body is the log's.
		if now.EndedAt != nil || !p.wait(ctx, nil, rings, grown) {
			return
		}
	}
}
