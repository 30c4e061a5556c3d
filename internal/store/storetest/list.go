package storetest

import (
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
)

func ids(list []qgjob.Job) string {
	var b strings.Builder
	for _, j := range list {
		fmt.Fprintf(&b, " %d", j.JobID)
	}
	return strings.TrimSpace(b.String())
}

var listTests = []test{
	{"list/jobs by each filter", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		w.submit(jobs("v2", 2)...)
		other := spec("v1", "tests/a.spec.js")
		other.Target = qgjob.TargetBrowser
		w.submitFor("globex", other)
		w.end("a1", qgjob.OutcomePassed)
		_, err := w.s.CancelJob(w.ctx, 4)
		w.ok(err)
		for _, c := range []struct {
			filter qgjob.JobFilter
			want   string
		}{
			{qgjob.JobFilter{}, "1 2 3 4 5"},
			{qgjob.JobFilter{RunID: 2}, "3 4"},
			{qgjob.JobFilter{OrgID: "globex"}, "5"},
			{qgjob.JobFilter{AppVersionID: "v1"}, "1 2 5"},
			{qgjob.JobFilter{AppVersionID: "v1", OrgID: "acme"}, "1 2"},
			{qgjob.JobFilter{AgentID: "a1"}, "1"},
			{qgjob.JobFilter{Target: qgjob.TargetBrowser}, "5"},
			{qgjob.JobFilter{Status: []qgjob.JobState{qgjob.Passed, qgjob.Cancelled}}, "1 4"},
			{qgjob.JobFilter{Status: []qgjob.JobState{qgjob.Queued}, OrgID: "acme", RunID: 2}, "3"},
			{qgjob.JobFilter{After: 2, Limit: 2}, "3 4"},
			{qgjob.JobFilter{After: 5}, ""},
			{qgjob.JobFilter{Newest: true, Limit: 2}, "5 4"},
			{qgjob.JobFilter{Newest: true, After: 4, OrgID: "acme"}, "3 2 1"},
			{qgjob.JobFilter{RunID: 77}, ""},
			{qgjob.JobFilter{OrgID: "' OR 1=1 --"}, ""},
		} {
			list, err := w.s.Jobs(w.ctx, c.filter)
			w.ok(err)
			w.equal(fmt.Sprintf("%+v", c.filter), ids(list), c.want)
		}
	}},
	{"list/a cursor misses nothing and repeats nothing", func(w *world) {
		w.unwanted = true
		w.submit(jobs("v1", 1203)...)
		list, err := w.s.Jobs(w.ctx, qgjob.JobFilter{})
		w.ok(err)
		w.equal("jobs of the longest page", len(list), qgjob.MaxPage)
		for _, limit := range []int{1000, 499, 7} {
			f := qgjob.JobFilter{Limit: limit}
			list := w.all(f)
			for i, j := range list {
				if int(j.JobID) != i+1 {
					w.Fatalf("limit %d: place %d holds %s", limit, i, j.JobID)
				}
			}
			w.equal("jobs", len(list), 1203)
		}
	}},
	{"list/the seed's group is by priority and then submission", func(w *world) {
		w.register("a1")
		for i := range 12 {
			one := spec("v1", "tests/a.spec.js")
			one.Priority = 1 + 4*(i%2)
			w.submitFor(qgjob.OrgID([]string{"acme", "globex"}[i/6]), one)
		}
		w.end("a1", qgjob.OutcomePassed) // finished ones stay in it
		list, err := w.s.SeedGroup(w.ctx, "v1", "", "")
		w.ok(err)
		w.equal("order", ids(list), "2 4 6 8 10 12 1 3 5 7 9 11")
		list, err = w.s.SeedGroup(w.ctx, "v1", "globex", "")
		w.ok(err)
		w.equal("order of one org", ids(list), "8 10 12 7 9 11")
		list, err = w.s.SeedGroup(w.ctx, "v9", "", "")
		w.ok(err)
		if list == nil || len(list) != 0 {
			w.Fatalf("an unknown version gives %v; wanted an empty list", list)
		}
	}},
	{"list/runs, newest first", func(w *world) {
		for i := range 7 {
			w.submitFor(qgjob.OrgID([]string{"acme", "globex"}[i%2]), jobs("v1", 1)...)
		}
		var got []qgjob.RunID
		for before := qgjob.RunID(0); ; {
			page, err := w.s.Runs(w.ctx, "acme", before, 2)
			w.ok(err)
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				got = append(got, r.RunID)
				before = r.RunID
			}
		}
		w.equal("runs", got, "[run_7 run_5 run_3 run_1]")
		_, err := w.s.Run(w.ctx, 8)
		w.refused(err, qgjob.KindNotFound, "", "run_8")
		_, err = w.s.Job(w.ctx, 8)
		w.refused(err, qgjob.KindNotFound, "", "job_8")
		_, err = w.s.Attempts(w.ctx, 8)
		w.refused(err, qgjob.KindNotFound, "", "job_8")
	}},
	{"list/the depth of the queue", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		w.submit(one, one, one, one)
		w.end("a1", qgjob.OutcomeFailed)
		w.start(w.claim("a1", 2)[0])
		w.submitFor("globex", one)
		depths, err := w.s.Depths(w.ctx)
		w.ok(err)
		w.equal("depths", depths, "[{acme emulator assigned 1} {acme emulator delayed 1} {acme emulator queued 1} {acme emulator running 1} {globex emulator queued 1}]")
	}},
}

var eventTests = []test{
	{"events/tell a run's whole story in order", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		req := w.result(o, qgjob.OutcomePassed)
		req.Install, req.InstallMS, req.TestMS = qgjob.InstallDone, 5, 6
		_, err := w.s.Complete(w.ctx, o.LeaseID, req)
		w.ok(err)
		var story []string
		for _, e := range w.checkEvents(1) {
			story = append(story, string(e.Kind)+" "+string(e.Status)+string(e.Final))
			if e.At.IsZero() || e.OrgID != "acme" {
				w.Fatalf("%+v", e)
			}
			if e.Kind == qgjob.EventJobFinished {
				w.equal("what it tells", words(*e.JobID, e.TestPath, e.AgentID, e.Attempt, e.Outcome, e.Install, e.InstallMS, e.TestMS),
					words("job_1", "tests/t1.spec.js", "a1", 1, "passed", "installed", 5, 6))
			}
		}
		w.equal("story", strings.Join(story, "; "), "run.submitted ; job.assigned assigned; job.started running; job.finished passed; run.finished passed")
		w.equal("of the other run", len(w.checkEvents(2)), 1)
	}},
	{"events/are told by Notify as they are stored", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 3)...)
		for range 3 {
			w.end("a1", qgjob.OutcomePassed)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		var told []qgjob.Event
		work, free := false, false
		for _, n := range w.notes {
			told = append(told, n.Events...)
			work, free = work || n.Work, free || n.Agents
		}
		stored := w.checkEvents(1)
		w.equal("number of events", len(told), len(stored))
		for i := range stored {
			w.equal("event", words(told[i].Seq, told[i].Kind, told[i].JobID != nil), words(stored[i].Seq, stored[i].Kind, stored[i].JobID != nil))
		}
		w.equal("work and agents", words(work, free), "true true")
	}},
	{"events/resume behind a number", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.end("a1", qgjob.OutcomePassed)
		all := w.checkEvents(1)
		w.reopen()
		rest, err := w.s.Events(w.ctx, 1, all[2].Seq, 0)
		w.ok(err)
		w.equal("rest", len(rest), len(all)-3)
		w.equal("first of the rest", rest[0].Seq, all[3].Seq)
	}},
}
