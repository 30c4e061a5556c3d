package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestListJobs(t *testing.T) {
	r := newRig(t, rigOptions{})
	device := spec("v2", "d.js")
	device.Target = qgjob.TargetDevice
	r.submit(spec("v1", "a.js"), spec("v1", "b.js"), device)
	r.register("a1")
	r.take("a1")
	must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "other", Jobs: []qgjob.JobSpec{spec("v1", "o.js")}})
	must[qgjob.Job](r, 200, "POST", "/v1/jobs/job_2/cancel", nil)
	for query, want := range map[string]string{
		"":                              "job_1 job_2 job_3 job_4",
		"org_id=acme":                   "job_1 job_2 job_3",
		"run_id=run_2":                  "job_4",
		"app_version_id=v2":             "job_3",
		"target=device":                 "job_3",
		"status=assigned":               "job_1",
		"status=queued,cancelled":       "job_2 job_3 job_4",
		"agent_id=a1":                   "job_1",
		"agent_id=nobody":               "",
		"cursor=job_2":                  "job_3 job_4",
		"org_id=acme&status=queued":     "job_3",
		"limit=2":                       "job_1 job_2 → job_2",
		"limit=2&cursor=job_2":          "job_3 job_4",
		"limit=1&status=queued":         "job_3 → job_3",
		"limit=500&app_version_id=v%09": "",
	} {
		page := must[qgjob.Page[qgjob.Job]](r, 200, "GET", "/v1/jobs?"+query, nil)
		var ids []string
		for _, j := range page.Items {
			ids = append(ids, j.JobID.String())
		}
		if page.Cursor != "" {
			ids = append(ids, "→", page.Cursor)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("?%s gave %q; want %q", query, got, want)
		}
		if page.Items == nil {
			t.Errorf("?%s gave null for no items", query)
		}
	}
	for query, field := range map[string]string{
		"status=resting": "status", "status=": "", "status=queued,": "status", "target=toaster": "target", "run_id=7": "run_id",
		"cursor=next": "cursor", "stauts=queued": "stauts", "limit=-1": "limit",
		"status=" + strings.Repeat("queued,", 9) + "queued": "status",
	} {
		if field == "" {
			must[qgjob.Page[qgjob.Job]](r, 200, "GET", "/v1/jobs?"+query, nil)
			continue
		}
		r.refuse(422, qgjob.KindInvalid, field, "GET", "/v1/jobs?"+query, nil)
	}
}

func TestJobLife(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.submit(spec("v1", "a.js"))
	r.register("a1")
	if attempts := must[list[qgjob.Attempt]](r, 200, "GET", "/v1/jobs/job_1/attempts", nil); attempts.Items == nil || len(attempts.Items) != 0 {
		t.Errorf("attempts before any: %+v", attempts)
	}
	r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/jobs/job_1/retry", nil)
	offer := r.take("a1")
	r.start("a1", offer.LeaseID)
	if j := r.job(1); j.Status != qgjob.Running || j.AgentID != "a1" || j.Attempts != 1 || j.StartedAt == nil {
		t.Errorf("running job %+v", j)
	}
	if got := r.complete("a1", offer.LeaseID, qgjob.OutcomePassed); got.Status != qgjob.Passed {
		t.Errorf("completed as %s", got.Status)
	}
	attempts := must[list[qgjob.Attempt]](r, 200, "GET", "/v1/jobs/job_1/attempts", nil)
	if len(attempts.Items) != 1 || attempts.Items[0].Outcome != qgjob.OutcomePassed || attempts.Items[0].LeaseID != offer.LeaseID {
		t.Errorf("attempts %+v", attempts)
	}
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/jobs/job_1/cancel", nil); p.Code != qgjob.CodeTerminal {
		t.Errorf("code %q", p.Code)
	}
	again := must[qgjob.SubmitResponse](r, http.StatusCreated, "POST", "/v1/jobs/job_1/retry", map[string]any{}, "Idempotency-Key", "again")
	if again.RunID != 2 || again.JobIDs[0] != 2 {
		t.Errorf("retry gave %+v", again)
	}
	if repeat := must[qgjob.SubmitResponse](r, http.StatusOK, "POST", "/v1/jobs/job_1/retry", nil, "Idempotency-Key", "again"); repeat.RunID != 2 {
		t.Errorf("repeated retry gave %+v", repeat)
	}
}

func TestCancelRunningJob(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.submit(spec("v1", "a.js"))
	r.register("a1")
	offer := r.take("a1")
	r.start("a1", offer.LeaseID)
	for range 2 { // asking twice changes nothing
		if j := must[qgjob.Job](r, 200, "POST", "/v1/jobs/job_1/cancel", nil); j.Status != qgjob.Cancelling {
			t.Fatalf("status %s; want cancelling", j.Status)
		}
	}
	renewed := must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{offer.LeaseID}})
	if renewed.Leases[offer.LeaseID] != qgjob.LeaseCancel {
		t.Errorf("renewal answered %+v; want cancel", renewed)
	}
	// Rule 7: once acknowledged, the job never passes.
	if got := r.complete("a1", offer.LeaseID, qgjob.OutcomePassed); got.Status != qgjob.Cancelled {
		t.Errorf("completed as %s; want cancelled", got.Status)
	}
}

func TestPostWithoutBody(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.register("a1")
	for _, body := range []any{nil, "{}", " { } "} {
		must[qgjob.Agent](r, 200, "POST", "/v1/agents/a1/drain", body)
	}
	for _, body := range []string{`{"now":true}`, `null`, `[]`, `{}{}`, `x`} {
		r.refuse(422, qgjob.KindInvalid, "body", "POST", "/v1/agents/a1/drain", body)
	}
}
