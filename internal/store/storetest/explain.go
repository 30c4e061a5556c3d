package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// explain asks why a job waits and checks what holds of every answer.
func (w *world) explain(id qgjob.JobID) qgjob.Explanation {
	w.Helper()
	e, err := w.s.Explain(w.ctx, id)
	w.ok(err)
	w.check()
	w.equal("job", e.JobID, id)
	w.equal("status", e.Status, w.job(id).Status)
	if e.Summary == "" || e.Agents == nil || e.Advice == nil || e.Ahead < 0 || (e.Status == qgjob.Queued && e.Ahead > e.Waiting) {
		w.Fatalf("explanation %+v", e)
	}
	if (e.Soonest == nil) != (e.Likely == nil) || (e.Soonest == nil) != (e.Latest == nil) {
		w.Fatalf("half an estimate: %v %v %v", e.Soonest, e.Likely, e.Latest)
	}
	if e.Soonest != nil && (e.Soonest.After(*e.Likely) || e.Likely.After(*e.Latest) || e.Soonest.Before(time.Now().Add(-time.Second))) {
		w.Fatalf("starts between %v and %v, likely %v; it is %v", e.Soonest, e.Latest, e.Likely, time.Now())
	}
	if (e.Soonest != nil) != (e.Status == qgjob.Queued && e.Able > 0) {
		w.Fatalf("%s with %d able agents: soonest start %v", e.Status, e.Able, e.Soonest)
	}
	return e
}

// says wants words in the summary, and in the advice behind a "|".
func (w *world) says(e qgjob.Explanation, want string) {
	w.Helper()
	summary, advice, _ := strings.Cut(want, "|")
	if !strings.Contains(e.Summary, summary) {
		w.Fatalf("summary is %q; wanted %q in it", e.Summary, summary)
	}
	if all := strings.Join(e.Advice, "; "); !strings.Contains(all, advice) || (advice == "" && all != "") {
		w.Fatalf("advice is %q; wanted %q in it", all, advice)
	}
}

func answers(e qgjob.Explanation) (text string) {
	for _, a := range e.Agents {
		text += fmt.Sprint(" ", a.AgentID, ":", a.Answer)
		if a.JobID != nil {
			text += fmt.Sprint("(", *a.JobID, ")")
		}
	}
	return strings.TrimSpace(text)
}

func (w *world) leave() {
	w.Helper()
	w.pass(time.Hour)
	seen, err := w.s.OnlineAgents(w.ctx)
	w.ok(err)
	_, err = w.s.Offline(w.ctx, seen)
	w.ok(err)
}

var explainTests = []test{
	{"explain/a job that nobody knows", func(w *world) {
		_, err := w.s.Explain(w.ctx, 7)
		w.refused(err, qgjob.KindNotFound, "", "job_7")
	}},
	{"explain/no agent can ever run it", func(w *world) {
		one := spec("v1", "tests/a.spec.js")
		one.Requires = map[string]string{"os": "14", "model": "pixel8"}
		w.submit(one)
		w.says(w.explain(1), "no agent can ever run it|qgjob agent --target emulator --label model=pixel8,os=14")
		w.registerAs("d1", qgjob.RegisterRequest{Target: qgjob.TargetDevice, Labels: one.Requires})
		w.registerAs("a1", qgjob.RegisterRequest{Target: qgjob.TargetEmulator, Labels: map[string]string{"os": "13"}})
		e := w.explain(1)
		w.says(e, "no agent can ever run it|--label")
		w.equal("answers", answers(e), "a1:missing_label")
		w.equal("able", e.Able, 0)
	}},
	{"explain/all that could are offline, or drain", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.leave()
		e := w.explain(1)
		w.says(e, "every agent that could run it is offline|start one")
		w.equal("answers", words(answers(e), e.Able), "a1:agent_offline 0")
		w.register("a1")
		_, err := w.s.Drain(w.ctx, "a1", true)
		w.ok(err)
		e = w.explain(1)
		w.says(e, "every agent that could run it is draining|undrain")
		w.equal("answers", words(answers(e), e.Able), "a1:agent_draining 0")
	}},
	{"explain/it is next", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		e := w.explain(1)
		w.says(e, "job_1 is next")
		w.equal("answer", words(answers(e), e.Ahead, e.Waiting, e.Able), "a1:takes_next 0 2 1")
		w.equal("soonest", e.Soonest.Unix(), time.Now().Unix())
	}},
	{"explain/it waits behind others of its group", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 4)...)
		o := w.run("a1")
		e := w.explain(4)
		w.says(e, "job_4 waits behind 2 jobs of its group; 1 agents may take it, 1 of them are busy|a higher priority than 1")
		w.equal("answer", words(answers(e), e.Ahead, e.Waiting, e.Able), "a1:agent_busy(job_1) 2 3 1")
		// The agent is busy for an install and a test of 60 s each, then two tests of 60 s go first.
		w.equal("soonest", e.Soonest.Sub(time.Now().Truncate(time.Second)), 4*time.Minute)
		w.pass(time.Hour) // it takes longer than was expected
		w.equal("soonest", w.explain(4).Soonest.Sub(time.Now().Truncate(time.Second)), 2*time.Minute)
		w.complete(o, qgjob.OutcomePassed)
	}},
	{"explain/the highest priority cannot be raised", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		one := spec("v1", "tests/z.spec.js")
		one.Priority = qgjob.MaxPriority
		w.submit(one)
		w.run("a1")
		w.submit(one)
		if all := fmt.Sprint(w.explain(4).Advice); strings.Contains(all, "priority") {
			w.Fatalf("advice %s", all)
		}
	}},
	{"explain/counts those ahead by the whole order", func(w *world) {
		w.register("a1")
		w.teach("a1", map[string]int64{"short": 5, "long": 500})
		urgent := spec("v1", "short")
		urgent.Priority = 3
		w.submit(spec("v1", "short"), spec("v1", "long")) // 3, 4
		w.submit(spec("v1", "long"), urgent)              // 5, 6
		w.submit(spec("v2", "long"), urgent)              // 7: another group; 8
		w.submitFor("globex", spec("v1", "long"))         // 9: another org's group
		for id, want := range map[qgjob.JobID]int{6: 0, 8: 1, 4: 2, 3: 3, 5: 4, 7: 0, 9: 0} {
			w.equal(words("ahead of", id), w.explain(id).Ahead, want)
		}
		_, err := w.s.CancelJob(w.ctx, 8)
		w.ok(err)
		w.equal("ahead of job_5 without job_8", w.explain(5).Ahead, 3)
	}},
	{"explain/a job in its back-off", func(w *world) {
		w.register("a1")
		again := spec("v1", "tests/a.spec.js")
		again.Retries = 3
		w.submit(append([]qgjob.JobSpec{again}, jobs("v1", 2)...)...)
		for range 3 { // the wait is drawn from a range that doubles
			o := w.run("a1")
			w.equal("job", o.Job.JobID, "job_1")
			if w.complete(o, qgjob.OutcomeFailed); len(w.attempts(1)) < 3 {
				w.wake(time.Minute)
			}
		}
		e, err := w.s.Explain(w.ctx, 1)
		w.ok(err)
		w.says(e, "more before its retry: assertion")
		w.equal("waiting", words(e.Waiting, len(e.Agents)), "2 0")
		if e.Soonest == nil || e.Soonest.Before(time.Now().Add(-time.Second)) || e.Likely.Before(*e.Soonest) {
			w.Fatalf("starts at %v, likely %v; it is %v", e.Soonest, e.Likely, time.Now())
		}
		w.equal("ahead of job_2: who is in back-off is not", w.explain(2).Ahead, 0)
		w.pass(time.Hour) // nobody has woken it yet
		e, err = w.s.Explain(w.ctx, 1)
		w.ok(err)
		w.says(e, "job_1 waits 0s more before its retry")
		w.equal("woken", w.wake(0), 1)
		w.equal("ahead of job_2", w.explain(2).Ahead, 1)
		w.says(w.explain(1), "job_1 is next")
	}},
	{"explain/an org over its quota", func(w *world) {
		_, err := w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 1, Quota: 1})
		w.ok(err)
		w.register("a1", "a2")
		w.submit(jobs("v1", 2)...)
		w.run("a1")
		e := w.explain(2)
		w.says(e, "org acme runs as many jobs as its quota allows|raise the org's quota")
		w.equal("answers", words(answers(e), e.Able), "a1:over_quota(job_1) a2:over_quota 2")
	}},
	{"explain/who is away cannot take it when the quota has room again", func(w *world) {
		_, err := w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 1, Quota: 1})
		w.ok(err)
		w.register("a1", "a2", "a3")
		w.submit(jobs("v1", 2)...)
		w.run("a1")
		w.leave()
		_, err = w.s.Drain(w.ctx, "a3", true)
		w.ok(err)
		e := w.explain(2)
		w.says(e, "every agent that could run it is offline|start one")
		w.equal("answers", words(answers(e), e.Able), "a1:agent_offline(job_1) a2:agent_offline a3:agent_offline 0")
		w.register("a2")
		e = w.explain(2)
		w.says(e, "quota|quota")
		w.equal("able", e.Able, 1)
	}},
	{"explain/an install that is not worth it", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 2)...)
		w.run("a1")
		e := w.explain(2)
		w.equal("answers", answers(e), "a1:agent_busy(job_1) a2:install_not_worth_it")
		w.says(e, "for 1 an install is not worth it yet|more agents")
	}},
	{"explain/agents with another thing to do first", func(w *world) {
		w.register("a1")
		urgent := spec("v2", "tests/a.spec.js")
		urgent.Priority = 10
		w.submit(spec("v1", "tests/a.spec.js"), urgent)
		e := w.explain(1)
		w.equal("answers", answers(e), "a1:outranked")
		w.says(e, "waits behind 0 jobs of its group|a higher priority than 1")
		if !e.Likely.After(*e.Soonest) {
			w.Fatalf("soonest %v, likely %v: the urgent job goes first", e.Soonest, e.Likely)
		}
	}},
	{"explain/agents that are pinned to another version", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.ok(w.s.Assign(w.ctx, "a1", "v9"))
		e := w.explain(1)
		w.equal("answers", words(answers(e), e.Able), "a1:pinned 1")
	}},
	{"explain/jobs that do not wait", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 5)...)
		o := w.take("a1")
		w.says(w.explain(1), "job_1 is assigned on agent a1")
		w.start(o)
		w.says(w.explain(1), "job_1 is running on agent a1")
		_, err := w.s.CancelJob(w.ctx, 1)
		w.ok(err)
		w.says(w.explain(1), "job_1 is being stopped by agent a1")
		w.complete(o, qgjob.OutcomeCancelled)
		w.says(w.explain(1), "job_1 has ended: cancelled")
		w.end("a1", qgjob.OutcomeFailed)
		w.says(w.explain(2), "job_2 has ended: failed")
		_, err = w.s.CancelJob(w.ctx, 5)
		w.ok(err)
		e := w.explain(5)
		w.equal("of what has ended nobody is ahead", words(e.Ahead, e.Waiting, e.Able, len(e.Agents)), "0 0 0 0")
	}},
	{"explain/of many agents at most a hundred answer", func(w *world) {
		w.unwanted = true
		for i := range 130 {
			w.register(qgjob.AgentID(fmt.Sprintf("a%03d", i)))
		}
		w.unwanted = false
		w.submit(jobs("v1", 3)...)
		e := w.explain(3)
		w.equal("answers", words(len(e.Agents), e.Able, e.Agents[0].AgentID, e.Agents[99].AgentID), "100 130 a000 a099")
	}},
	{"explain/what it says survives a restart", func(w *world) {
		w.register("a1", "a2")
		w.submit(jobs("v1", 4)...)
		w.run("a1")
		before := w.explain(4)
		w.reopen()
		after := w.explain(4)
		w.equal("explanation", words(after.Ahead, after.Waiting, after.Able, answers(after)), words(before.Ahead, before.Waiting, before.Able, answers(before)))
	}},
}
