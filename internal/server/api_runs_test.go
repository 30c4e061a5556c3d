package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestRuns(t *testing.T) {
	r := newRig(t, rigOptions{})
	one := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", `{"org_id":"acme","jobs":[
		{"app_version_id":"v1","test_path":"tests/a.spec.js","target":"emulator"},
		{"app_version_id":"v1","test_path":"tests/b.spec.js","target":"emulator","priority":8,"retries":2,"timeout_s":60,"requires":{"os":"14"}}],
		"labels":{"branch":"main"}}`)
	if one.RunID != 1 || fmt.Sprint(one.JobIDs) != "[job_1 job_2]" || one.Repeat {
		t.Fatalf("submitted %+v", one)
	}
	if !strings.Contains(one.Warning, "no agent online serves target emulator") {
		t.Errorf("warning %q names no missing target", one.Warning)
	}
	run := must[qgjob.Run](r, 200, "GET", "/v1/runs/run_1", nil)
	if run.Tally != (qgjob.Tally{Total: 2, Queued: 2}) || run.Labels["branch"] != "main" || run.Conclusion != "" {
		t.Errorf("run %+v", run)
	}
	first, second := r.job(1), r.job(2)
	if first.Priority != 1 || first.TimeoutS != 1800 || second.Priority != 8 || second.TimeoutS != 60 || second.Retries != 2 || second.Requires["os"] != "14" {
		t.Errorf("defaults not taken: %+v, %+v", first, second)
	}

	r.register("a1")
	if two := r.submit(spec("v1", "tests/c.spec.js")); two.Warning != "" {
		t.Errorf("warning %q though an agent serves it", two.Warning)
	}
	cancelled := must[qgjob.Run](r, 200, "POST", "/v1/runs/run_1/cancel", nil)
	if cancelled.Conclusion != qgjob.ConclusionCancelled || cancelled.Tally.Cancelled != 2 {
		t.Errorf("cancelled run %+v", cancelled)
	}
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/runs/run_1/cancel", nil); p.Code != qgjob.CodeTerminal {
		t.Errorf("code %q; want terminal", p.Code)
	}
	again := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs/run_1/retry", nil)
	if again.RunID != 3 || len(again.JobIDs) != 2 {
		t.Errorf("retry gave %+v", again)
	}
	if run := must[qgjob.Run](r, 200, "GET", "/v1/runs/run_3", nil); run.RetryOf == nil || *run.RetryOf != 1 {
		t.Errorf("retry of %v; want run_1", run.RetryOf)
	}
	r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/runs/run_3/retry", nil)
}

func TestSubmitIdempotent(t *testing.T) {
	r := newRig(t, rigOptions{})
	body := qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}
	first := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", body, "Idempotency-Key", "ci-1")
	second := must[qgjob.SubmitResponse](r, 200, "POST", "/v1/runs", body, "Idempotency-Key", "ci-1")
	if second.RunID != first.RunID || !second.Repeat || second.JobIDs[0] != first.JobIDs[0] {
		t.Errorf("repeat gave %+v; want the ids of %+v", second, first)
	}
	body.Jobs[0].Priority = 5
	if p := r.refuse(422, qgjob.KindInvalid, "Idempotency-Key", "POST", "/v1/runs", body, "Idempotency-Key", "ci-1"); p.Code != qgjob.CodeKeyReused {
		t.Errorf("code %q; want key_reused", p.Code)
	}
	p := r.refuse(422, qgjob.KindInvalid, "Idempotency-Key", "POST", "/v1/runs", body, "Idempotency-Key", strings.Repeat("k", 256))
	if p.Errors[0].Location != "header.Idempotency-Key" {
		t.Errorf("location %q", p.Errors[0].Location)
	}
}

func TestSubmitRefusals(t *testing.T) {
	r := newRig(t, rigOptions{})
	job := func(change string) string {
		fields := map[string]string{"app_version_id": `"v1"`, "test_path": `"a.js"`, "target": `"emulator"`}
		name, value, _ := strings.Cut(change, "=")
		if fields[name] = value; value == "" {
			delete(fields, name)
		}
		var parts []string
		for k, v := range fields {
			parts = append(parts, fmt.Sprintf("%q:%s", k, v))
		}
		return `{"org_id":"acme","jobs":[{"app_version_id":"v0","test_path":"0.js","target":"emulator"},{` + strings.Join(parts, ",") + `}]}`
	}
	for _, test := range []struct {
		name, body, field string
		status            int
	}{
		{"no org", `{"jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator"}]}`, "org_id", 422},
		{"empty org", `{"org_id":"","jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator"}]}`, "org_id", 422},
		{"no jobs", `{"org_id":"acme"}`, "jobs", 422},
		{"empty jobs", `{"org_id":"acme","jobs":[]}`, "jobs", 422},
		{"null jobs", `{"org_id":"acme","jobs":null}`, "jobs", 422},
		{"null job", `{"org_id":"acme","jobs":[null]}`, "jobs[0]", 422},
		{"no path", job("test_path="), "jobs[1].test_path", 422},
		{"empty path", job(`test_path=""`), "jobs[1].test_path", 422},
		{"path leaves", job(`test_path="../a.js"`), "jobs[1].test_path", 422},
		{"path is an option", job(`test_path="--config=evil.js"`), "jobs[1].test_path", 422},
		{"path is a number", job(`test_path=7`), "jobs[1].test_path", 422},
		{"unknown target", job(`target="toaster"`), "jobs[1].target", 422},
		{"empty version", job(`app_version_id=""`), "jobs[1].app_version_id", 422},
		{"long version", job(`app_version_id="` + strings.Repeat("v", 129) + `"`), "jobs[1].app_version_id", 422},
		{"priority too high", job(`priority=11`), "jobs[1].priority", 422},
		{"priority below", job(`priority=-1`), "jobs[1].priority", 422},
		{"priority null", job(`priority=null`), "jobs[1].priority", 422},
		{"priority text", job(`priority="high"`), "jobs[1].priority", 422},
		{"priority broken", job(`priority=1.5`), "jobs[1].priority", 422},
		{"priority huge", job(`priority=1e30`), "jobs[1].priority", 422},
		{"priority beyond floats", job(`priority=1e999`), "jobs[1].priority", 400},
		{"retries", job(`retries=11`), "jobs[1].retries", 422},
		{"timeout", job(`timeout_s=86401`), "jobs[1].timeout_s", 422},
		{"reset", job(`reset="wipe"`), "jobs[1].reset", 422},
		{"requires a list", job(`requires=[]`), "jobs[1].requires", 422},
		{"requires a number", job(`requires={"os":14}`), "jobs[1].requires.os", 422},
		{"bundle no sum", job(`bundle_sha256="abc"`), "jobs[1].bundle_sha256", 422},
		{"bundle unknown", job(`bundle_sha256="` + strings.Repeat("a", 64) + `"`), "jobs[1].bundle_sha256", 422},
		{"unknown field", job(`colour="red"`), "jobs[1].colour", 422},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &rig{Server: r.Server, t: t, client: r.client}
			p := r.refuse(test.status, qgjob.KindInvalid, test.field, "POST", "/v1/runs", test.body)
			if p.Errors[0].Location != "body."+test.field {
				t.Errorf("location %q; want body.%s", p.Errors[0].Location, test.field)
			}
		})
	}
	if page := must[qgjob.Page[qgjob.Job]](r, 200, "GET", "/v1/jobs", nil); len(page.Items) != 0 {
		t.Errorf("%d jobs though every submission was refused", len(page.Items))
	}
}

func TestSubmitBundle(t *testing.T) {
	r := newRig(t, rigOptions{})
	sum := r.upload("a packed project")
	job := spec("v1", "a.js")
	job.BundleSHA256 = sum
	r.submit(job, job)
	if got := r.job(1).BundleSHA256; got != sum {
		t.Errorf("bundle %q; want %q", got, sum)
	}
	job.BundleSHA256 = qgjob.Sum(strings.Repeat("b", 64))
	p := r.refuse(422, qgjob.KindInvalid, "jobs[1].bundle_sha256", "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js"), job}})
	if !strings.Contains(p.Hint, "upload") {
		t.Errorf("hint %q says nothing of uploading", p.Hint)
	}
}

func TestRunsPaging(t *testing.T) {
	r := newRig(t, rigOptions{})
	for range 5 {
		r.submit(spec("v1", "a.js"))
	}
	must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "other", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}})
	var seen []string
	cursor, pages := "", 0
	for {
		page := must[qgjob.Page[qgjob.Run]](r, 200, "GET", "/v1/runs?org_id=acme&limit=2&cursor="+cursor, nil)
		for _, run := range page.Items {
			seen = append(seen, run.RunID.String())
		}
		pages++
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "run_5 run_4 run_3 run_2 run_1" || pages != 3 {
		t.Errorf("%d pages of %s", pages, got)
	}
	// A last page that is full has no cursor to an empty one.
	if page := must[qgjob.Page[qgjob.Run]](r, 200, "GET", "/v1/runs?limit=6", nil); len(page.Items) != 6 || page.Cursor != "" {
		t.Errorf("%d items, cursor %q", len(page.Items), page.Cursor)
	}
	for query, field := range map[string]string{"limit=0": "limit", "limit=501": "limit", "limit=x": "limit", "cursor=7": "cursor", "colour=red": "colour"} {
		r.refuse(422, qgjob.KindInvalid, field, "GET", "/v1/runs?"+query, nil)
	}
}

func TestUnknownRunsAndJobs(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, test := range []struct{ method, path string }{
		{"GET", "/v1/runs/run_7"}, {"POST", "/v1/runs/run_7/cancel"}, {"POST", "/v1/runs/run_7/retry"},
		{"GET", "/v1/jobs/job_7"}, {"POST", "/v1/jobs/job_7/cancel"}, {"POST", "/v1/jobs/job_7/retry"},
		{"GET", "/v1/jobs/job_7/attempts"}, {"GET", "/v1/jobs/job_7/artifacts"},
	} {
		r.refuse(404, qgjob.KindNotFound, "", test.method, test.path, nil)
		bad := strings.Replace(strings.Replace(test.path, "run_7", "run_07", 1), "job_7", "7", 1)
		p := must[problem](r, 422, test.method, bad, nil)
		if !strings.HasPrefix(p.Errors[0].Location, "path.") || !strings.Contains(p.Detail, "is not of the form") {
			t.Errorf("%s %s: %+v", test.method, bad, p)
		}
	}
}

func TestNoSuchRoute(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/nonsense", nil)
	if !strings.Contains(p.Hint, "/openapi.json") {
		t.Errorf("hint %q", p.Hint)
	}
	got := r.ask("DELETE", "/v1/runs", nil)
	if got.Status != http.StatusMethodNotAllowed || !strings.Contains(got.Header.Get("Allow"), "POST") || got.Header.Get("Content-Type") != problemType {
		t.Errorf("DELETE /v1/runs: %s, Allow %q", got, got.Header.Get("Allow"))
	}
}
