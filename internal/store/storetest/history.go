package storetest

import (
	"time"

	"github.com/qualgent/qgjob"
)

// ran runs one job to its end with durations.
func (w *world) ran(id qgjob.AgentID, outcome qgjob.Outcome, installMS, testMS int64) qgjob.Offer {
	w.Helper()
	o := w.run(id)
	req := w.result(o, outcome)
	req.TestMS = testMS
	if installMS > 0 {
		req.Install, req.InstallMS = qgjob.InstallDone, installMS
	}
	_, err := w.s.Complete(w.ctx, o.LeaseID, req)
	w.ok(err)
	w.check()
	return o
}

func (w *world) history(org qgjob.OrgID, since time.Time, after qgjob.JobID, limit int) []qgjob.HistoryJob {
	w.Helper()
	list, err := w.s.History(w.ctx, org, "", since, after, limit)
	w.ok(err)
	return list
}

func historyIDs(list []qgjob.HistoryJob) string {
	jobs := make([]qgjob.Job, len(list))
	for i, h := range list {
		jobs[i].JobID = h.JobID
	}
	return ids(jobs)
}

var historyTests = []test{
	{"history/ended jobs that ran a test, and no others", func(w *world) {
		w.register("a1")
		w.equal("history of nothing", len(w.history("", time.Time{}, 0, 10)), 0)
		w.submit(jobs("v1", 6)...)
		w.ran("a1", qgjob.OutcomePassed, 4000, 9000)
		w.ran("a1", qgjob.OutcomeFailed, 0, 8000)
		w.ran("a1", qgjob.OutcomePassed, 0, 0) // does not say how long it took
		_, err := w.s.CancelJob(w.ctx, 4)
		w.ok(err)
		w.run("a1") // job_5 runs, job_6 waits
		list := w.history("", time.Time{}, 0, 10)
		w.equal("jobs", historyIDs(list), "1 2")
		w.equal("durations", words(list[0].TestMS, list[0].InstallMS, list[1].TestMS, list[1].InstallMS), "9000 4000 8000 0")
	}},
	{"history/says what was asked for", func(w *world) {
		w.registerAs("a1", qgjob.RegisterRequest{Target: qgjob.TargetDevice, Labels: map[string]string{"os": "14", "model": "pixel8"}})
		w.putApp("v1", sum("a"))
		one := spec("v1", "tests/a.spec.js")
		one.Target, one.Priority, one.Requires = qgjob.TargetDevice, 7, map[string]string{"os": "14"}
		at := time.Now()
		run := w.submit(one)
		w.ran("a1", qgjob.OutcomePassed, 1500, 2500)
		h := w.history("acme", time.Time{}, 0, 10)[0]
		w.equal("entry", words(h.JobID, h.RunID, h.OrgID, h.AppVersionID, h.BuildSHA256, h.TestPath, h.Target, h.Requires, h.Priority, h.SubmittedAt.UnixMilli(), h.TestMS, h.InstallMS),
			words("job_1", run.RunID, "acme", "v1", sum("a"), "tests/a.spec.js", "device", map[string]string{"os": "14"}, 7, at.UnixMilli(), 2500, 1500))
	}},
	{"history/of a job that was tried again: its last test, the longest of its installs", func(w *world) {
		w.register("a1")
		one := spec("v1", "tests/a.spec.js")
		one.Retries = 1
		w.submit(one)
		w.ran("a1", qgjob.OutcomeFailed, 6000, 9000)
		w.equal("history while it waits for its retry", len(w.history("", time.Time{}, 0, 10)), 0)
		w.wake(10 * time.Minute)
		w.ran("a1", qgjob.OutcomePassed, 0, 7000)
		h := w.history("", time.Time{}, 0, 10)
		w.equal("history", words(historyIDs(h), h[0].TestMS, h[0].InstallMS), "1 7000 6000")
	}},
	{"history/by org, by time and by page", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 2)...)
		w.pass(time.Hour)
		later := time.Now()
		w.submitFor("globex", jobs("v1", 2)...)
		w.submit(jobs("v1", 1)...)
		for range 5 {
			w.ran("a1", qgjob.OutcomePassed, 0, 1000)
		}
		never := time.Time{}
		for _, c := range []struct {
			org   qgjob.OrgID
			since time.Time
			after qgjob.JobID
			limit int
			want  string
		}{
			{"", never, 0, 10, "1 2 3 4 5"}, {"", never, 0, 2, "1 2"}, {"", never, 2, 2, "3 4"}, {"", never, 4, 2, "5"}, {"", never, 5, 2, ""},
			{"acme", never, 0, 10, "1 2 5"}, {"acme", never, 1, 1, "2"}, {"globex", never, 0, 10, "3 4"}, {"initech", never, 0, 10, ""},
			{"", later, 0, 10, "3 4 5"}, {"acme", later, 0, 10, "5"}, {"", later.Add(time.Millisecond), 0, 10, ""},
			{"", never, 0, 0, "1 2 3 4 5"}, {"", never, 0, -1, "1 2 3 4 5"},
		} {
			w.equal(words("history of", c.org, c.since, c.after, c.limit), historyIDs(w.history(c.org, c.since, c.after, c.limit)), c.want)
		}
	}},
}
