package server

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// ends runs whatever an agent is offered, each test having taken that long.
func (r *rig) ends(agent string, testMS int64) (done int) {
	r.t.Helper()
	for {
		got := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/"+agent+"/claim", claimOf(0))
		if len(got.Offers) == 0 {
			return done
		}
		id := got.Offers[0].LeaseID
		r.start(agent, id)
		req := result(agent, qgjob.OutcomePassed)
		req.TestMS = testMS
		must[qgjob.CompleteResponse](r, 200, "POST", "/v1/leases/"+string(id)+"/complete", req)
		done++
	}
}

func TestExplainRoute(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.submit(spec("v1", "a.js"), spec("v1", "b.js"))
	e := must[qgjob.Explanation](r, 200, "GET", "/v1/jobs/job_2/explain", nil)
	if e.JobID != 2 || e.Status != qgjob.Queued || e.Ahead != 1 || e.Waiting != 2 || e.Able != 0 || e.Soonest != nil || len(e.Advice) != 1 {
		t.Errorf("without agents: %+v", e)
	}
	r.register("a1")
	if e = must[qgjob.Explanation](r, 200, "GET", "/v1/jobs/job_1/explain", nil); e.Summary != "job_1 is next" || e.Able != 1 || e.Soonest == nil {
		t.Errorf("with an idle agent: %+v", e)
	}
	r.ends("a1", 1000)
	if e = must[qgjob.Explanation](r, 200, "GET", "/v1/jobs/job_1/explain", nil); e.Status != qgjob.Passed || e.Agents == nil || e.Advice == nil {
		t.Errorf("of a job that has ended: %+v", e)
	}
	r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/jobs/job_9/explain", nil)
	if p := r.ask("GET", "/v1/jobs/nine/explain", nil); p.Status != 422 && p.Status != 400 && p.Status != 404 {
		t.Errorf("of what is no job id: %s", p)
	}
	if p := r.ask("POST", "/v1/jobs/job_1/explain", nil); p.Status != 405 {
		t.Errorf("POST: %s", p)
	}
}

func TestHistoryRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.register("a1")
		for i := range 5 {
			r.submit(spec("v1", fmt.Sprintf("%d.js", i)))
			r.ends("a1", int64(1000*(i+1)))
			time.Sleep(time.Minute)
		}
		r.submit(spec("v1", "waits.js"))
		all := must[qgjob.Page[qgjob.HistoryJob]](r, 200, "GET", "/v1/history", nil)
		if len(all.Items) != 5 || all.Cursor != "" || all.Items[4].TestMS != 5000 {
			t.Fatalf("history %+v", all)
		}
		seen, pages, query := 0, 0, ""
		for {
			page := must[qgjob.Page[qgjob.HistoryJob]](r, 200, "GET", "/v1/history?limit=2"+query, nil)
			for _, h := range page.Items {
				seen++
				if int(h.JobID) != seen {
					t.Errorf("page %d holds %s; want job_%d", pages, h.JobID, seen)
				}
			}
			if pages++; page.Cursor == "" || pages > 5 {
				break
			}
			query = "&cursor=" + page.Cursor
		}
		if seen != 5 || pages != 3 {
			t.Errorf("%d jobs on %d pages; want 5 on 3", seen, pages)
		}
		since := all.Items[3].SubmittedAt.Format(time.RFC3339)
		if got := must[qgjob.Page[qgjob.HistoryJob]](r, 200, "GET", "/v1/history?since="+since, nil); len(got.Items) != 2 {
			t.Errorf("since %s: %d jobs; want 2", since, len(got.Items))
		}
		if got := must[qgjob.Page[qgjob.HistoryJob]](r, 200, "GET", "/v1/history?org_id=globex", nil); got.Items == nil || len(got.Items) != 0 {
			t.Errorf("of another org: %+v; want an empty list", got.Items)
		}
		for _, query := range []string{"limit=0", "limit=501", "cursor=7", "cursor=run_1", "since=yesterday"} {
			if p := r.ask("GET", "/v1/history?"+query, nil); p.Status != 422 && p.Status != 400 {
				t.Errorf("%s: %s; want a refusal", query, p)
			}
		}
	})
}

// TestRecountRunsBesideTheServer: the loop goes round every minute and finds
// nothing, with work going on and more groups than one step looks at.
func TestRecountRunsBesideTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.register("a1")
		for i := range recountStep + 5 {
			r.submit(spec(fmt.Sprint("v", i), "a.js"), spec(fmt.Sprint("v", i), "b.js"))
		}
		for range 3 {
			time.Sleep(recountEvery + time.Second)
			r.take("a1")
			r.register("a1")
			if drifted, _, err := r.Store.Recount(t.Context(), 0, 1000); err != nil || drifted != 0 {
				t.Fatalf("%d groups drifted, %v", drifted, err)
			}
			time.Sleep(ttl) // the offer goes back
		}
		if logs := r.logs.String(); strings.Contains(logs, "drifted") || strings.Contains(logs, "recount groups") {
			t.Errorf("the log tells of drift: %s", logs)
		}
	})
}
