package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// running gives a rig with job_1 running on a1, and its lease.
func running(t *testing.T) (*rig, string) {
	t.Helper()
	r := newRig(t, rigOptions{})
	r.submit(spec("v1", "a.js"))
	r.register("a1")
	offer := r.take("a1")
	r.start("a1", offer.LeaseID)
	return r, "/v1/leases/" + string(offer.LeaseID)
}

const noLease = "/v1/leases/00000000000000000000000000000000"

func TestStart(t *testing.T) {
	r, at := running(t)
	who := qgjob.StartRequest{AgentID: "a1", Incarnation: 1}
	if got := must[qgjob.StartResponse](r, 200, "POST", at+"/start", who); got.Answer != qgjob.LeaseOK {
		t.Errorf("repeated start: %s", got.Answer)
	}
	if j := r.job(1); j.Attempts != 1 {
		t.Errorf("%d attempts after a repeated start; want 1", j.Attempts)
	}
	r.refuse(404, qgjob.KindNotFound, "", "POST", noLease+"/start", who)
	r.refuse(422, qgjob.KindInvalid, "lease_id", "POST", "/v1/leases/xyz/start", who)
	p := r.refuse(409, qgjob.KindConflict, "", "POST", at+"/start", qgjob.StartRequest{AgentID: "a1", Incarnation: 2})
	if p.Code != qgjob.CodeAgentSuperseded {
		t.Errorf("code %q", p.Code)
	}
	if p := r.refuse(404, qgjob.KindNotFound, "", "POST", at+"/start", qgjob.StartRequest{AgentID: "ghost", Incarnation: 1}); p.Code != qgjob.CodeAgentUnknown {
		t.Errorf("code %q", p.Code)
	}
	r.complete("a1", qgjob.LeaseID(strings.TrimPrefix(at, "/v1/leases/")), qgjob.OutcomePassed)
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", at+"/start", who); p.Code != qgjob.CodeStaleLease {
		t.Errorf("code %q", p.Code)
	}
}

func TestLog(t *testing.T) {
	r, at := running(t)
	raw := []string{"Content-Type", "application/octet-stream"}
	if got := must[qgjob.LogResponse](r, 200, "POST", at+"/log?offset=0", "hello ", raw...); got.Length != 6 {
		t.Errorf("length %d; want 6", got.Length)
	}
	must[qgjob.LogResponse](r, 200, "POST", at+"/log?offset=0", "hello ", raw...) // again: harmless
	if got := must[qgjob.LogResponse](r, 200, "POST", at+"/log?offset=6", "\xff\x00world", raw...); got.Length != 13 || got.Full {
		t.Errorf("%+v; want 13 bytes", got)
	}
	p := must[problem](r, 409, "POST", at+"/log?offset=99", "gap", raw...)
	if p.Code != qgjob.CodeOffset || p.Offset == nil || *p.Offset != 13 {
		t.Errorf("a gap gave %+v; want code offset at 13", p)
	}
	if got, err := r.Store.Log(t.Context(), qgjob.LeaseID(strings.TrimPrefix(at, "/v1/leases/")), 0, 100); err != nil || string(got) != "hello \xff\x00world" {
		t.Errorf("log %q, %v", got, err)
	}
	for _, offset := range []string{"", "-1", "x", "1e3"} {
		r.refuse(422, qgjob.KindInvalid, "offset", "POST", at+"/log?offset="+offset, "x", raw...)
	}
	r.refuse(404, qgjob.KindNotFound, "", "POST", noLease+"/log?offset=0", "x", raw...)
	r.refuse(422, qgjob.KindInvalid, "lease_id", "POST", "/v1/leases/..%2Fx/log?offset=0", "x", raw...)
	if p := r.refuse(413, qgjob.KindInvalid, "", "POST", at+"/log?offset=13", strings.Repeat("x", logBody+1), raw...); p.Code != qgjob.CodeTooLarge {
		t.Errorf("code %q", p.Code)
	}
	must[qgjob.LogResponse](r, 200, "POST", at+"/log?offset=13", strings.Repeat("x", logBody), raw...)
}

func TestArtifacts(t *testing.T) {
	r, at := running(t)
	sum := r.upload("a picture")
	add := func(name, kind string) qgjob.ArtifactRequest {
		return qgjob.ArtifactRequest{Name: name, SHA256: sum, ContentType: kind}
	}
	got := must[qgjob.Artifact](r, 200, "POST", at+"/artifacts", add("shots/1.png", "image/png"))
	if got.Size != 9 || got.ContentType != "image/png" || got.Name != "shots/1.png" {
		t.Errorf("artifact %+v", got)
	}
	must[qgjob.Artifact](r, 200, "POST", at+"/artifacts", add("shots/1.png", "image/png"))
	if got := must[qgjob.Artifact](r, 200, "POST", at+"/artifacts", add("trace.zip", "")); got.ContentType != "application/octet-stream" {
		t.Errorf("content type %q", got.ContentType)
	}
	if files := must[list[qgjob.Artifact]](r, 200, "GET", "/v1/jobs/job_1/artifacts", nil); len(files.Items) != 2 {
		t.Errorf("artifacts %+v", files)
	}
	for _, name := range []string{"", ".", "..", "../x", "/x", "a//b", "a/../b", `a\b`, "a\x00b", "a\nb", strings.Repeat("n", 513)} {
		r.refuse(422, qgjob.KindInvalid, "name", "POST", at+"/artifacts", add(name, ""))
	}
	r.refuse(422, qgjob.KindInvalid, "content_type", "POST", at+"/artifacts", add("x", "image/png; ="))
	r.refuse(404, qgjob.KindNotFound, "sha256", "POST", at+"/artifacts", qgjob.ArtifactRequest{Name: "x", SHA256: qgjob.Sum(strings.Repeat("1", 64))})
	r.refuse(404, qgjob.KindNotFound, "", "POST", noLease+"/artifacts", add("x", ""))
}

func TestComplete(t *testing.T) {
	r, at := running(t)
	code := 1
	req := qgjob.CompleteRequest{AgentID: "a1", Incarnation: 1, Outcome: qgjob.OutcomeFailed, Reason: qgjob.ReasonAssertion, Message: "1 of 2 failed", Digest: "digest-1", ExitCode: &code,
		Install: qgjob.InstallDone, InstallMS: 1200, TestMS: 3400, Tests: []qgjob.TestResult{
			{File: "a.js", Title: []string{"cart", "adds"}, Status: qgjob.TestPassed},
			{File: "a.js", Title: []string{"cart", "pays"}, Status: qgjob.TestFailed, Message: strings.Repeat("é", qgjob.MaxMessage)}}}
	if got := must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", req); got.Status != qgjob.Failed || got.Next != nil {
		t.Errorf("completed as %+v", got)
	}
	if got := must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", req); got.Status != qgjob.Failed {
		t.Errorf("repeated: %+v", got)
	}
	attempts := must[list[qgjob.Attempt]](r, 200, "GET", "/v1/jobs/job_1/attempts", nil).Items
	a := attempts[0]
	if a.Outcome != qgjob.OutcomeFailed || *a.ExitCode != 1 || a.Install != qgjob.InstallDone || a.InstallMS != 1200 || len(a.Tests) != 2 || a.Tests[1].Title[1] != "pays" {
		t.Errorf("attempt %+v", a)
	}
	if m := a.Tests[1].Message; len(m) > qgjob.MaxMessage || m != strings.Repeat("é", qgjob.MaxMessage/2) {
		t.Errorf("message of %d bytes; want it cut to %d", len(m), qgjob.MaxMessage)
	}
	req.Digest = "digest-2"
	if p := r.refuse(409, qgjob.KindConflict, "", "POST", at+"/complete", req); p.Code != qgjob.CodeStaleLease {
		t.Errorf("another result for the same lease: %+v", p)
	}
}

func TestCompleteRefusals(t *testing.T) {
	r, at := running(t)
	good := `"agent_id":"a1","incarnation":1,"outcome":"passed","digest":"digest-1"`
	for _, test := range []struct{ body, field string }{
		{`{"agent_id":"a1","incarnation":1,"digest":"digest-1"}`, "outcome"},
		{`{"agent_id":"a1","incarnation":1,"outcome":"great","digest":"digest-1"}`, "outcome"},
		{`{"agent_id":"a1","incarnation":1,"outcome":"","digest":"digest-1"}`, "outcome"},
		{`{"agent_id":"a1","incarnation":1,"outcome":"lost","digest":"digest-1"}`, "outcome"},
		{`{"agent_id":"a1","incarnation":1,"outcome":"passed","digest":"d"}`, "digest"},
		{`{"agent_id":"a1","outcome":"passed","digest":"digest-1"}`, "incarnation"},
		{`{` + good + `,"install":"maybe"}`, "install"},
		{`{` + good + `,"install_ms":-1}`, "install_ms"},
		{`{` + good + `,"exit_code":"0"}`, "exit_code"},
		{`{` + good + `,"tests":[{"file":"a.js","title":["t"],"status":"great","duration_ms":1}]}`, "tests[0].status"},
		{`{` + good + `,"tests":[{"file":"a.js","title":["t"],"duration_ms":1}]}`, "tests[0].status"},
		{`{` + good + `,"tests":[{"file":"` + strings.Repeat("f", maxTestText) + `","title":["t"],"status":"passed","duration_ms":1}]}`, "tests[0].title"},
		{`{` + good + `,"installed":{"org_id":"","app_version_id":"v1"}}`, "installed.org_id"},
		{`{` + good + `,"installed":{"org_id":"acme","app_version_id":"v1","build_sha256":"x"}}`, "installed.build_sha256"},
		{`{` + good + `,"next":{"incarnation":1,"claim_id":"claim-99","installed":{"org_id":"acme","app_version_id":""}}}`, "next.installed.app_version_id"},
		{`{` + good + `,"next":{"incarnation":1}}`, "next.claim_id"},
	} {
		p := must[problem](r, 422, "POST", at+"/complete", test.body)
		if p.Field != test.field {
			t.Errorf("%.120s: field %q (%s); want %q", test.body, p.Field, p.Detail, test.field)
		}
	}
	if j := r.job(1); j.Status != qgjob.Running {
		t.Errorf("job is %s after refused results; want running", j.Status)
	}
	r.refuse(404, qgjob.KindNotFound, "", "POST", noLease+"/complete", "{"+good+"}")
	must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", "{"+good+"}")
}

func TestCompleteClaimsNext(t *testing.T) {
	r, at := running(t)
	req := result("a1", qgjob.OutcomePassed)
	next := claimOf(60_000_000)
	next.WaitMS = 60_000
	req.Next = &next
	// Nothing waits: the answer comes at once, without waiting for wait_ms.
	got := must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", req)
	if got.Status != qgjob.Passed || got.Next == nil || len(got.Next.Offers) != 0 {
		t.Fatalf("completed %+v; want a next without offers", got)
	}
	r.submit(spec("v1", "b.js"), spec("v1", "c.js"))
	offer := r.take("a1")
	r.start("a1", offer.LeaseID)
	again := claimOf(0)
	req = result("a1", qgjob.OutcomePassed)
	req.Next = &again
	path := fmt.Sprintf("/v1/leases/%s/complete", offer.LeaseID)
	got = must[qgjob.CompleteResponse](r, 200, "POST", path, req)
	if len(got.Next.Offers) != 1 || got.Next.Offers[0].Job.JobID != 3 {
		t.Fatalf("next %+v; want job_3", got.Next)
	}
	// The answer was lost: the same call again gives the same offer.
	repeat := must[qgjob.CompleteResponse](r, 200, "POST", path, req)
	if repeat.Status != qgjob.Passed || repeat.Next == nil || len(repeat.Next.Offers) != 1 || repeat.Next.Offers[0].LeaseID != got.Next.Offers[0].LeaseID {
		t.Errorf("repeated: %+v; want the same offer", repeat)
	}
}
