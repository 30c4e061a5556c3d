package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

func TestOrgSetAndShow(t *testing.T) {
	p := newPast(t)
	defer p.stop(t, syscall.SIGTERM)
	for _, c := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"org show --org-id=acme", 0, "org acme: weight 1, quota none\n", ""},
		{"org set --org-id=acme --weight=2.5", 0, "org acme: weight 2.5, quota none\n", ""},
		{"org set --org-id=acme --quota=3", 0, "org acme: weight 2.5, quota 3\n", ""},
		{"org show --org-id=acme", 0, "org acme: weight 2.5, quota 3\n", ""},
		{"org set --org-id=acme --weight=1 --quota=0", 0, "org acme: weight 1, quota none\n", ""},
		{"org show --org-id=globex", 0, "org globex: weight 1, quota none\n", ""},
		{"org set --org-id=acme", exitUsage, "", "--weight, --quota or both"},
		{"org set --weight=2", exitUsage, "", "--org-id"},
		{"org show", exitUsage, "", "--org-id"},
		{"org set --org-id=acme --weight=0", exitUsage, "", "weight"},
		{"org set --org-id=acme --weight=101", exitUsage, "", "0.01 to 100"},
		{"org set --org-id=acme --weight=NaN", exitUsage, "", "weight"},
		{"org set --org-id=acme --weight=Inf", exitUsage, "", "weight"},
		{"org set --org-id=acme --quota=-1", exitUsage, "", "quota"},
		{"org set --org-id=a/b --quota=1", 0, "org a/b: weight 1, quota 1\n", ""}, // escaped on its way
		{"org show --org-id=acme", 0, "org acme: weight 1, quota none\n", ""},
	} {
		code, out, err := p.qgjob(strings.Fields(c.args)...)
		if code != c.code || out != c.out || (c.err == "") != (err == "") || !strings.Contains(err, c.err) {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q, %q", c.args, code, out, err, c.code, c.out, c.err)
		}
	}
	_, out, _ := p.qgjob("org", "set", "--org-id=acme", "--quota=7", "--json")
	var o qgjob.Org
	if err := json.Unmarshal([]byte(out), &o); err != nil || o != (qgjob.Org{OrgID: "acme", Weight: 1, Quota: 7}) {
		t.Errorf("--json: %+v, %v in %s", o, err, out)
	}
}

// TestQuotaOfTheCommandHolds: what org set says is what claims obey.
func TestQuotaOfTheCommandHolds(t *testing.T) {
	p := newPast(t)
	defer p.stop(t, syscall.SIGTERM)
	p.agent("a1", qgjob.TargetEmulator, nil)
	p.agent("a2", qgjob.TargetEmulator, nil)
	if code, _, err := p.qgjob("org", "set", "--org-id=acme", "--quota=1"); code != 0 {
		t.Fatal(err)
	}
	p.submit("acme", "v1", qgjob.TargetEmulator, 5, "a.js")
	p.submit("acme", "v2", qgjob.TargetEmulator, 5, "b.js")
	if got, err := p.c.Claim(context.Background(), "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-a1"}); err != nil || len(got.Offers) != 1 {
		t.Fatalf("within the quota: %+v, %v", got, err)
	}
	if got, err := p.c.Claim(context.Background(), "a2", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-a2"}); err != nil || len(got.Offers) != 0 {
		t.Fatalf("beyond the quota: %+v, %v", got, err)
	}
	found := false
	for _, id := range []string{"job_1", "job_2"} {
		_, out, _ := p.qgjob("explain", id)
		found = found || strings.Contains(out, "org acme runs as many jobs as its quota allows") && strings.Contains(out, "would help: raise the org's quota")
	}
	if !found {
		t.Error("explain does not tell of the quota")
	}
}

func TestExplain(t *testing.T) {
	p := newPast(t)
	defer p.stop(t, syscall.SIGTERM)
	p.agent("a1", qgjob.TargetEmulator, nil)
	p.submit("acme", "v1", qgjob.TargetEmulator, 5, "a.js", "b.js", "c.js")
	if _, err := p.c.Claim(context.Background(), "a1", qgjob.ClaimRequest{Incarnation: 1, ClaimID: "claim-0001"}); err != nil {
		t.Fatal(err)
	}
	code, out, err := p.qgjob("explain", "job_3")
	if code != 0 || err != "" {
		t.Fatalf("exit %d, %s", code, err)
	}
	for _, want := range []string{"job_3 waits behind 1 jobs of its group", "likely start in ", " (between ", "would help: ", "AGENT", "agent_busy", "job_1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	code, out, _ = p.qgjob("explain", "--job-id=job_3", "--json")
	var e qgjob.Explanation
	if err := json.Unmarshal([]byte(out), &e); code != 0 || err != nil {
		t.Fatalf("exit %d, %v in %s", code, err, out)
	}
	if e.JobID != 3 || e.Status != qgjob.Queued || e.Ahead != 1 || e.Waiting != 2 || e.Able != 1 || len(e.Agents) != 1 || e.Agents[0].Answer != "agent_busy" ||
		e.Likely == nil || e.Likely.Before(time.Now()) || e.Soonest.After(*e.Likely) || e.Likely.After(*e.Latest) {
		t.Errorf("explanation %+v", e)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"job_id", "status", "summary", "ahead", "group_waiting", "agents_able", "agents", "advice", "soonest_start_at", "likely_start_at", "latest_start_at"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("key %s is missing in %s", key, out)
		}
	}
	for args, says := range map[string]string{"job_9": "job_9", "run_1": "name one job of run_1", "": "name one job", "job_x": "job_x"} {
		if code, out, err := p.qgjob(append([]string{"explain"}, strings.Fields(args)...)...); code != exitUsage || out != "" || !strings.Contains(err, says) {
			t.Errorf("explain %s: exit %d, %q, %q", args, code, out, err)
		}
	}
}

// TestExplainTellsWhatOthersWroteSafely: labels come from whoever submits.
func TestExplainTellsWhatOthersWroteSafely(t *testing.T) {
	f := newFake(t)
	f.deny = func(w http.ResponseWriter, r *http.Request) bool {
		give(w, 200, qgjob.Explanation{JobID: 1, Status: qgjob.Queued, Summary: "no agent \x1b[31mred", Advice: []string{"start\n::error::it"},
			Agents: []qgjob.AgentAnswer{{AgentID: "a\x1b]0;x\x07", Answer: "missing_label", Text: "lacks \x1b[2J"}}})
		return true
	}
	code, out, err := newProgram(t, f.URL).run("explain", "job_1")
	if code != 0 || strings.Contains(out, "\x1b") || strings.Contains(out, "\n::error") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
}
