package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/qualgent/qgjob"
)

var submitTests = []test{
	{"submit/ids rise in the order of the request", func(w *world) {
		w.equal("first run", w.submit(jobs("v1", 3)...), "{run_1 [job_1 job_2 job_3] false }")
		w.equal("second run", w.submitFor("globex", jobs("v1", 2)...), "{run_2 [job_4 job_5] false }")
		w.equal("path of job_3", w.job(3).TestPath, "tests/t3.spec.js")
		w.equal("org of job_4", w.job(4).OrgID, "globex")
	}},
	{"submit/defaults and fields are kept", func(w *world) {
		plain := w.job(w.submit(spec("v1", "tests/a.spec.js")).JobIDs[0])
		w.equal("defaults", words(plain.Priority, plain.TimeoutS, plain.Retries, plain.Reset, plain.Status, plain.Attempts, plain.AgentID), words(1, 1800, 0, "clear", "queued", 0, ""))
		full := spec("v2", "tests/b.spec.js")
		full.Target, full.Priority, full.Retries, full.TimeoutS = qgjob.TargetBrowser, 10, 3, 90
		full.Requires = map[string]string{"os": "14", "model": "pixel8"}
		full.BundleSHA256, full.Reset = qgjob.Sum(strings.Repeat("ab", 32)), qgjob.ResetKeep
		j := w.job(w.submit(full).JobIDs[0])
		w.equal("fields", words(j.AppVersionID, j.TestPath, j.Target, j.Priority, j.Retries, j.TimeoutS, j.Requires, j.BundleSHA256, j.Reset),
			words("v2", full.TestPath, full.Target, 10, 3, 90, full.Requires, full.BundleSHA256, qgjob.ResetKeep))
		if j.SubmittedAt.IsZero() || j.StartedAt != nil || j.FinishedAt != nil {
			w.Fatalf("instants of a new job: %+v", j)
		}
	}},
	{"submit/labels stay with the run", func(w *world) {
		resp, err := w.s.Submit(w.ctx, "", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 1), Labels: map[string]string{"branch": "main", "ci": "https://ci/7?a=b&c=d"}})
		w.ok(err)
		w.equal("labels", w.runOf(resp.RunID).Labels, "map[branch:main ci:https://ci/7?a=b&c=d]")
	}},
	{"submit/whole or not at all", func(w *world) {
		bad := jobs("v1", 3)
		bad[2].TestPath = "../../etc/passwd"
		_, err := w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: bad})
		w.refused(err, qgjob.KindInvalid, "", "..")
		w.equal("field", w.asError(err).Field, "jobs[2].test_path")
		w.equal("jobs", len(w.all(qgjob.JobFilter{})), 0)
		bad[2].TestPath = "tests/ok.spec.js" // the refused request did not use its key up
		resp, err := w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: bad})
		w.ok(err)
		w.equal("answer", resp, "{run_1 [job_1 job_2 job_3] false }")
	}},
	{"submit/ten thousand jobs in one run", func(w *world) {
		w.unwanted = true
		resp := w.submit(jobs("v1", qgjob.MaxJobsPerRun)...)
		w.equal("last id", resp.JobIDs[len(resp.JobIDs)-1], "job_10000")
		w.equal("tally", w.runOf(1).Tally.Queued, 10_000)
		_, err := w.s.Submit(w.ctx, "", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", qgjob.MaxJobsPerRun+1)})
		w.refused(err, qgjob.KindInvalid, "", "10000")
	}},
	{"submit/a caller who has gone already gets nothing", func(w *world) {
		gone, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.s.Submit(gone, "", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 1)})
		if err != nil {
			w.refused(err, qgjob.KindUnavailable, "")
			w.equal("jobs", len(w.all(qgjob.JobFilter{})), 0)
		} else {
			w.equal("jobs", len(w.all(qgjob.JobFilter{})), 1) // taken before it was seen to be gone: then it is true
		}
	}},
	{"idempotency/same key and body give the same ids", func(w *world) {
		req := qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 3)}
		first, err := w.s.Submit(w.ctx, "key-1", req)
		w.ok(err)
		w.equal("first", first.Repeat, false)
		w.submit(jobs("v2", 2)...)
		again, err := w.s.Submit(w.ctx, "key-1", req)
		w.ok(err)
		w.equal("again", again, fmt.Sprintf("{%s %v true }", first.RunID, first.JobIDs))
		w.reopen()
		again, err = w.s.Submit(w.ctx, "key-1", req)
		w.ok(err)
		w.equal("after a restart", again, fmt.Sprintf("{%s %v true }", first.RunID, first.JobIDs))
		w.equal("jobs", len(w.all(qgjob.JobFilter{})), 5)
		w.check()
	}},
	{"idempotency/same key and another body are refused", func(w *world) {
		_, err := w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 1)})
		w.ok(err)
		_, err = w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 2)})
		w.refused(err, qgjob.KindInvalid, qgjob.CodeKeyReused, "key-1")
		w.equal("jobs", len(w.all(qgjob.JobFilter{})), 1)
		// Another org may use the same key.
		other, err := w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "globex", Jobs: jobs("v1", 2)})
		w.ok(err)
		w.equal("other org", other, "{run_2 [job_2 job_3] false }")
	}},
	{"idempotency/many at once make one run", func(w *world) {
		var wg sync.WaitGroup
		answers := make([]qgjob.SubmitResponse, 16)
		errs := make([]error, len(answers))
		for i := range answers {
			wg.Go(func() {
				answers[i], errs[i] = w.s.Submit(w.ctx, "key-1", qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 2)})
			})
		}
		wg.Wait()
		fresh := 0
		for i, a := range answers {
			w.ok(errs[i])
			w.equal("ids", words(a.RunID, a.JobIDs), "run_1 [job_1 job_2]")
			if !a.Repeat {
				fresh++
			}
		}
		w.equal("answers that say they were first", fresh, 1)
		w.equal("jobs", len(w.all(qgjob.JobFilter{})), 2)
		w.check()
	}},
	{"idempotency/a key must be short and printable", func(w *world) {
		for _, key := range []string{strings.Repeat("k", 256), "a\x00b", "schlüssel"} {
			_, err := w.s.Submit(w.ctx, key, qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs("v1", 1)})
			w.refused(err, qgjob.KindInvalid, "", "Idempotency-Key")
		}
	}},
}
