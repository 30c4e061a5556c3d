package storetest

import (
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// stopTests are runs that stand in for others, end at their first failure, or
// take results over.
var stopTests = []test{
	{"stop/a newer run stops the older one, and both say so", func(w *world) {
		w.register("a1")
		old := w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey = "shop main" }, jobs("v1", 3)...)
		other := w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey = "shop dev" }, jobs("v1", 1)...)
		o := w.run("a1")
		next := w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey = "shop main" }, jobs("v2", 1)...)
		w.equal("superseded by", *w.runOf(old.RunID).SupersededBy, next.RunID)
		w.equal("supersedes", *w.runOf(next.RunID).Supersedes, old.RunID)
		w.stopAll()
		w.equal("status of what ran", w.job(o.Job.JobID).Status, qgjob.Cancelling)
		w.equal("status after it passed all the same", w.complete(o, qgjob.OutcomePassed), qgjob.Cancelled)
		for _, id := range old.JobIDs {
			w.state(id, qgjob.Cancelled, qgjob.ReasonSuperseded)
			w.equal("message", w.job(id).Message, "superseded by "+next.RunID.String())
		}
		w.equal("conclusion", w.runOf(old.RunID).Conclusion, qgjob.Conclusion("cancelled"))
		w.equal("another key goes on", w.job(other.JobIDs[0]).Status, qgjob.Queued)
		w.equal("the newer goes on", w.job(next.JobIDs[0]).Status, qgjob.Queued)
		w.checkEvents(old.RunID)
	}},
	{"stop/legs of one matrix do not stop each other", func(w *world) {
		leg := func(ci string) qgjob.SubmitResponse {
			return w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey, r.Labels = "k", map[string]string{qgjob.LabelCIRun: ci} }, jobs("v1", 1)...)
		}
		first, second := leg("17"), leg("17")
		w.stopAll()
		w.equal("first leg", w.job(first.JobIDs[0]).Status, qgjob.Queued)
		third := leg("18")
		w.stopAll()
		w.equal("first leg", w.job(first.JobIDs[0]).Status, qgjob.Cancelled)
		w.equal("second leg", w.job(second.JobIDs[0]).Status, qgjob.Cancelled)
		w.equal("supersedes", *w.runOf(third.RunID).Supersedes, second.RunID)
		w.equal("other orgs' keys are their own", w.runOf(first.RunID).Supersedes == nil, true)
	}},
	{"stop/a run that has ended, and one of another org, are left alone", func(w *world) {
		w.register("a1")
		w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey = "k" }, jobs("v1", 1)...)
		w.complete(w.run("a1"), qgjob.OutcomePassed)
		elsewhere := w.ask(func(r *qgjob.SubmitRequest) { r.OrgID, r.SupersedeKey = "other", "k" }, jobs("v1", 1)...)
		next := w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey = "k" }, jobs("v1", 1)...)
		w.stopAll()
		w.equal("supersedes", w.runOf(next.RunID).Supersedes == nil, true)
		w.equal("another org's", w.job(elsewhere.JobIDs[0]).Status, qgjob.Queued)
	}},
	{"stop/the rest of a run ends with its first failure", func(w *world) {
		w.register("a1")
		once := jobs("v1", 4)
		once[0].Retries = 1
		got := w.ask(func(r *qgjob.SubmitRequest) { r.FailFast = true }, once...)
		w.equal("errored is no failure", w.complete(w.run("a1"), qgjob.OutcomeErrored), qgjob.Queued)
		w.stopAll()
		o := w.run("a1")
		status := w.complete(o, qgjob.OutcomeFailed)
		for status == qgjob.Queued { // it may run again
			w.stopAll()
			w.wake(time.Minute)
			o = w.run("a1")
			status = w.complete(o, qgjob.OutcomeFailed)
		}
		w.stopAll()
		stopped := 0
		for _, id := range got.JobIDs {
			if j := w.job(id); j.Reason == qgjob.ReasonFailFast {
				stopped++
				w.equal("names what failed", strings.Contains(j.Message, o.Job.JobID.String()), true)
			}
		}
		w.equal("stopped", stopped, 3)
		w.equal("conclusion", w.runOf(got.RunID).Conclusion, qgjob.Conclusion("failed"))
		again, err := w.s.RetryRun(w.ctx, got.RunID, "")
		w.ok(err)
		w.equal("a repetition keeps it", w.runOf(again.RunID).FailFast, true)
	}},
	{"stop/a late leg of an older CI run leaves the newer one alone", func(w *world) {
		leg := func(ci string) qgjob.SubmitResponse {
			return w.ask(func(r *qgjob.SubmitRequest) { r.SupersedeKey, r.Labels = "k", map[string]string{qgjob.LabelCIRun: ci} }, jobs("v1", 1)...)
		}
		newer := leg("100")
		late := leg("99")
		w.stopAll()
		w.equal("the newer one", w.job(newer.JobIDs[0]).Status, qgjob.Queued)
		w.equal("the late one stands in for", w.runOf(late.RunID).Supersedes == nil, true)
		leg("build-7") // no number: the later is the newer
		w.stopAll()
		w.equal("the newer one", w.job(newer.JobIDs[0]).Status, qgjob.Cancelled)
		w.equal("the late one", w.job(late.JobIDs[0]).Status, qgjob.Cancelled)
	}},
	{"stop/a pass is taken over, and nothing else", reuses},
	{"stop/a pass counts no more once the same test has failed", func(w *world) {
		w.register("a1")
		one := known(w)
		reuse := func(r *qgjob.SubmitRequest) { r.ReusePassed = true }
		w.submit(one)
		w.complete(w.run("a1"), qgjob.OutcomePassed)
		w.submit(one)
		w.complete(w.run("a1"), qgjob.OutcomeFailed)
		w.equal("after a failure", w.job(w.ask(reuse, one).JobIDs[0]).Status, qgjob.Queued)
		w.complete(w.run("a1"), qgjob.OutcomePassed)
		w.equal("after the next pass", w.job(w.ask(reuse, one).JobIDs[0]).Status, qgjob.Passed)
		again := one
		again.Retries = 1
		w.submit(again)
		w.equal("first try", w.complete(w.run("a1"), qgjob.OutcomeFailed), qgjob.Queued)
		w.wake(time.Minute)
		w.equal("second try", w.complete(w.run("a1"), qgjob.OutcomePassed), qgjob.Passed)
		w.equal("after a flaky pass", w.job(w.ask(reuse, one).JobIDs[0]).Status, qgjob.Queued)
	}},
	{"stop/new tests and those that failed come first", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...) // tests a, b, c by name
		var failed string
		for i := range 3 {
			o := w.run("a1")
			outcome := qgjob.OutcomePassed
			if i == 1 {
				outcome, failed = qgjob.OutcomeFailed, o.Job.TestPath
			}
			w.completeAs(o, outcome, time.Second)
		}
		fresh := spec("v1", "tests/brand-new.spec.js")
		w.submit(append(jobs("v1", 3), fresh)...)
		first, second := w.run("a1"), ""
		w.completeAs(first, qgjob.OutcomePassed, time.Second)
		o := w.run("a1")
		second = o.Job.TestPath
		early := map[string]bool{first.Job.TestPath: true, second: true}
		w.equal("the failed one is early", early[failed], true)
		w.equal("the new one is early", early[fresh.TestPath], true)
	}},
}

// reuses takes a pass over when all that it depends on is the same.
func reuses(w *world) {
	w.register("a1")
	one := known(w)
	reuse := func(r *qgjob.SubmitRequest) { r.ReusePassed = true }
	first := w.ask(reuse, one)
	w.complete(w.run("a1"), qgjob.OutcomePassed)
	got := w.ask(reuse, one)
	w.state(got.JobIDs[0], qgjob.Passed, qgjob.ReasonReused)
	w.equal("taken from", *w.job(got.JobIDs[0]).ReusedFrom, first.JobIDs[0])
	w.equal("attempts", len(w.attempts(got.JobIDs[0])), 0)
	_, err := w.s.Attempt(w.ctx, got.JobIDs[0], 0)
	w.equal("its log says whose to read", err != nil && strings.Contains(err.Error(), "taken over from "+first.JobIDs[0].String()), true)
	run := w.runOf(got.RunID)
	w.equal("conclusion", run.Conclusion, qgjob.Conclusion("passed"))
	w.equal("ended", run.FinishedAt != nil, true)
	events, err := w.s.Events(w.ctx, got.RunID, 0, 10)
	w.ok(err)
	w.equal("events", len(events), 3)
	w.equal("last", events[2].Kind, qgjob.EventRunFinished)
	other := one
	other.TestPath = "tests/b.spec.js"
	mixed := w.ask(reuse, one, other)
	w.equal("one is taken over", w.job(mixed.JobIDs[0]).Status, qgjob.Passed)
	w.equal("one runs", w.job(mixed.JobIDs[1]).Status, qgjob.Queued)
	w.complete(w.run("a1"), qgjob.OutcomePassed)
	w.equal("conclusion", w.runOf(mixed.RunID).Conclusion, qgjob.Conclusion("passed"))
	for what, change := range map[string]func(*qgjob.JobSpec){
		"another bundle":        func(s *qgjob.JobSpec) { s.BundleSHA256 = qgjob.Sum(strings.Repeat("c", 64)) },
		"no bundle":             func(s *qgjob.JobSpec) { s.BundleSHA256 = "" },
		"another version":       func(s *qgjob.JobSpec) { s.AppVersionID = "v2" },
		"another target":        func(s *qgjob.JobSpec) { s.Target = "device" },
		"another requirement":   func(s *qgjob.JobSpec) { s.Requires = map[string]string{"os": "14"} },
		"another kind of reset": func(s *qgjob.JobSpec) { s.Reset = "keep" },
	} {
		changed := one
		change(&changed)
		w.equal(what, w.job(w.ask(reuse, changed).JobIDs[0]).Status, qgjob.Queued)
	}
	w.equal("when not asked for", w.job(w.submit(one).JobIDs[0]).Status, qgjob.Queued)
	w.pass(8 * 24 * time.Hour)
	w.equal("after a week", w.job(w.ask(reuse, one).JobIDs[0]).Status, qgjob.Queued)
}

// known is a test whose build and sources are known by their bytes.
func known(w *world) qgjob.JobSpec {
	w.Helper()
	_, err := w.s.PutApp(w.ctx, qgjob.App{OrgID: "acme", AppVersionID: "v1", SHA256: qgjob.Sum(strings.Repeat("a", 64)), Size: 1, FileName: "app.apk"})
	w.ok(err)
	one := spec("v1", "tests/a.spec.js")
	one.BundleSHA256 = qgjob.Sum(strings.Repeat("b", 64))
	return one
}

// completeAs says how long the test took, too.
func (w *world) completeAs(o qgjob.Offer, outcome qgjob.Outcome, took time.Duration) {
	w.Helper()
	req := w.result(o, outcome)
	req.TestMS = took.Milliseconds()
	_, err := w.s.Complete(w.ctx, o.LeaseID, req)
	w.ok(err)
	w.check()
}

// ask submits with what a request may say of its run.
func (w *world) ask(change func(*qgjob.SubmitRequest), specs ...qgjob.JobSpec) qgjob.SubmitResponse {
	w.Helper()
	req := qgjob.SubmitRequest{OrgID: "acme", Jobs: specs}
	change(&req)
	got, err := w.s.Submit(w.ctx, "", req)
	w.ok(err)
	w.check()
	return got
}

// stopAll does what a server's loop does.
func (w *world) stopAll() {
	w.Helper()
	for {
		n, err := w.s.StopRuns(w.ctx)
		w.ok(err)
		if n == 0 {
			break
		}
	}
	w.check()
}
