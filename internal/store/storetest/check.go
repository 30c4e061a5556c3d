package storetest

import (
	"time"

	"github.com/qualgent/qgjob"
)

// check compares what the store says of groups, runs, agents and queues with
// a recount from its jobs and events, and then asks the engine's own audit.
func (w *world) check() {
	w.Helper()
	w.next()
	if w.unwanted {
		return
	}
	all := w.all(qgjob.JobFilter{})
	if w.db.Archive {
		w.archive()
		w.equal("jobs after runs have moved into history", words(w.all(qgjob.JobFilter{})), words(all))
	}
	w.checkGroups(all)
	w.checkRuns(all)
	w.checkAgents(all)
	drifted, _, err := w.s.Recount(w.ctx, 0, 10_000)
	w.ok(err)
	w.equal("groups whose aggregates drifted", drifted, 0)
	if w.db.Audit != nil {
		if err := w.db.Audit(w.ctx, w.s); err != nil {
			w.Fatalf("audit: %v", err)
		}
	}
}

// archive moves every run that has ended into history.
func (w *world) archive() {
	w.Helper()
	for more := true; more; {
		var err error
		_, more, err = w.s.Archive(w.ctx, time.Now())
		w.ok(err)
	}
}

// all lists every job that a filter lets through, page by page.
func (w *world) all(f qgjob.JobFilter) []qgjob.Job {
	w.Helper()
	var list []qgjob.Job
	for {
		page, err := w.s.Jobs(w.ctx, f)
		w.ok(err)
		if len(page) == 0 {
			return list
		}
		for _, j := range page {
			if j.JobID <= f.After {
				w.Fatalf("%s is listed after %s", j.JobID, f.After)
			}
			f.After = j.JobID
		}
		list = append(list, page...)
	}
}

type demand struct {
	org    qgjob.OrgID
	target qgjob.Target
}

func (w *world) checkGroups(all []qgjob.Job) {
	w.Helper()
	queued, serving, top := map[qgjob.GroupID]int{}, map[qgjob.GroupID]int{}, map[qgjob.GroupID]int{}
	byDemand := map[demand]int{}
	for _, j := range all {
		switch {
		case j.Status == qgjob.Queued:
			queued[j.GroupID]++
			top[j.GroupID] = max(top[j.GroupID], j.Priority)
			byDemand[demand{j.OrgID, j.Target}]++
		case j.Status.Leased():
			serving[j.GroupID]++
		}
	}
	groups, err := w.s.Groups(w.ctx, "")
	w.ok(err)
	for _, g := range groups {
		// Those in their back-off are queued and do not count as waiting.
		if g.Waiting > queued[g.GroupID] || g.Serving != serving[g.GroupID] || g.HeadPriority > top[g.GroupID] {
			w.Fatalf("%s says waiting %d, serving %d, head %d; counted: queued %d, leased %d, highest %d",
				g.GroupID, g.Waiting, g.Serving, g.HeadPriority, queued[g.GroupID], serving[g.GroupID], top[g.GroupID])
		}
		if (g.Waiting == 0) != (g.HeadPriority == 0) || (g.Waiting == 0) != (g.HeadSubmitted == nil) {
			w.Fatalf("%s: waiting %d with head %d of %v", g.GroupID, g.Waiting, g.HeadPriority, g.HeadSubmitted)
		}
		delete(serving, g.GroupID)
		byDemand[demand{g.OrgID, g.Target}] -= g.Waiting
	}
	if len(serving) > 0 {
		w.Fatalf("groups with leased jobs are not listed: %v", serving)
	}
	depths, err := w.s.Depths(w.ctx)
	w.ok(err)
	for _, d := range depths {
		if d.State == "delayed" {
			byDemand[demand{d.Org, d.Target}] -= d.Jobs
		}
	}
	for d, n := range byDemand {
		if n != 0 {
			w.Fatalf("%v: %d queued jobs are neither waiting nor delayed", d, n)
		}
	}
}

func (w *world) checkRuns(all []qgjob.Job) {
	w.Helper()
	counted := map[qgjob.RunID]*qgjob.Tally{}
	for _, j := range all {
		c := counted[j.RunID]
		if c == nil {
			c = &qgjob.Tally{}
			counted[j.RunID] = c
		}
		c.Total++
		switch {
		case j.Status == qgjob.Queued:
			c.Queued++
		case j.Status.Leased():
			c.Running++
		}
		switch j.Status {
		case qgjob.Passed:
			c.Passed++
		case qgjob.Failed:
			c.Failed++
		case qgjob.Errored:
			c.Errored++
		case qgjob.Cancelled:
			c.Cancelled++
		}
		if j.Flaky {
			c.Flaky++
		}
		if j.Status.Terminal() != (j.FinishedAt != nil) {
			w.Fatalf("%s is %s and finished at %v", j.JobID, j.Status, j.FinishedAt)
		}
	}
	n := 0
	for before := qgjob.RunID(0); ; {
		page, err := w.s.Runs(w.ctx, "", before, 100)
		w.ok(err)
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			before = r.RunID
			n++
			if c := counted[r.RunID]; c == nil || *c != r.Tally {
				w.Fatalf("%s tells %+v; counted: %+v", r.RunID, r.Tally, c)
			}
			if r.Conclusion != r.Tally.Conclude() || (r.Conclusion == "") != (r.FinishedAt == nil) {
				w.Fatalf("%s: conclusion %q of %+v, finished at %v", r.RunID, r.Conclusion, r.Tally, r.FinishedAt)
			}
		}
	}
	if n != len(counted) {
		w.Fatalf("%d runs are listed; the jobs name %d", n, len(counted))
	}
}

func (w *world) checkAgents(all []qgjob.Job) {
	w.Helper()
	holds := map[qgjob.AgentID]qgjob.Job{}
	for _, j := range all {
		if _, more := holds[j.AgentID]; j.Status.Leased() && !more {
			holds[j.AgentID] = j
		}
	}
	agents, err := w.s.Agents(w.ctx)
	w.ok(err)
	for _, a := range agents {
		j, busy := holds[a.AgentID]
		delete(holds, a.AgentID)
		if busy != (a.JobID != nil) || (a.Status == qgjob.AgentBusy && !busy) || (a.Status == qgjob.AgentIdle && busy) {
			w.Fatalf("agent %s is %s with job %v; it holds a job: %v", a.AgentID, a.Status, a.JobID, busy)
		}
		if busy && *a.JobID != j.JobID {
			w.Fatalf("agent %s tells %s; it holds %s", a.AgentID, *a.JobID, j.JobID)
		}
	}
	if len(holds) > 0 {
		w.Fatalf("jobs are held by agents that nobody knows: %v", holds)
	}
}

// checkEvents follows the events of a run: they rise, tell of each job's end
// at most once, and end with run.finished exactly when every job has ended.
func (w *world) checkEvents(id qgjob.RunID) []qgjob.Event {
	w.Helper()
	var list []qgjob.Event
	for after := int64(0); ; {
		page, err := w.s.Events(w.ctx, id, after, 50)
		w.ok(err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.Seq <= after {
				w.Fatalf("%s: event %d comes after %d", id, e.Seq, after)
			}
			after = e.Seq
		}
		list = append(list, page...)
	}
	ended, last := map[qgjob.JobID]qgjob.JobState{}, map[qgjob.JobID]qgjob.JobState{}
	finished := 0
	for i, e := range list {
		if e.RunID != id || (e.Kind == qgjob.EventRunSubmitted) != (i == 0) {
			w.Fatalf("%s: event %d is %s of %s", id, i, e.Kind, e.RunID)
		}
		if finished > 0 {
			w.Fatalf("%s: %s comes after run.finished", id, e.Kind)
		}
		if e.Kind == qgjob.EventRunFinished {
			finished++
			w.equal("conclusion in run.finished", e.Final, w.runOf(id).Conclusion)
		}
		if e.JobID == nil {
			continue
		}
		if was, done := ended[*e.JobID]; done {
			w.Fatalf("%s ended %s and then tells %s", *e.JobID, was, e.Kind)
		}
		if from := last[*e.JobID]; from != "" && from != e.Status && !qgjob.CanMove(from, e.Status) {
			w.Fatalf("%s moves from %s to %s", *e.JobID, from, e.Status)
		}
		last[*e.JobID] = e.Status
		if (e.Kind == qgjob.EventJobFinished) != e.Status.Terminal() {
			w.Fatalf("%s: %s with state %s", *e.JobID, e.Kind, e.Status)
		}
		if e.Status.Terminal() {
			ended[*e.JobID] = e.Status
		}
	}
	r := w.runOf(id)
	if len(ended) != r.Tally.Ended() || (finished == 1) != (r.Conclusion != "") {
		w.Fatalf("%s: %d job.finished and %d run.finished events; the run tells %+v", id, len(ended), finished, r.Tally)
	}
	return list
}
