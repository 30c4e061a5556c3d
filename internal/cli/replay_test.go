package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"strings"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/sim"
)

// past is a real server with what ran on it.
type past struct {
	*hosted
	c      *client.Client
	claims int
}

func newPast(t *testing.T) *past {
	t.Helper()
	h := host(t, nil, "server")
	c, err := client.New(h.base, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &past{hosted: h, c: c}
}

func (p *past) agent(id string, target qgjob.Target, labels map[string]string) {
	p.t.Helper()
	if _, err := p.c.Register(context.Background(), qgjob.AgentID(id), qgjob.RegisterRequest{Incarnation: 1, Target: target, Labels: labels, Runner: "exec"}); err != nil {
		p.t.Fatal(err)
	}
}

// submit submits a run of tests of one version.
func (p *past) submit(org, version string, target qgjob.Target, priority int, tests ...string) qgjob.SubmitResponse {
	p.t.Helper()
	req := qgjob.SubmitRequest{OrgID: qgjob.OrgID(org)}
	for _, test := range tests {
		req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(version), TestPath: test, Target: target, Priority: priority})
	}
	got, err := p.c.Submit(context.Background(), req, "key-"+version+org)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// work lets an agent run all that it is offered, each test for as long as told.
func (p *past) work(id string, install, test time.Duration, outcome qgjob.Outcome) (done int) {
	p.t.Helper()
	ctx := context.Background()
	version := qgjob.Installed{}
	for {
		p.claims++
		got, err := p.c.Claim(ctx, qgjob.AgentID(id), qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%s-%05d", id, p.claims)})
		if err != nil {
			p.t.Fatal(err)
		}
		if len(got.Offers) == 0 {
			return done
		}
		o := got.Offers[0]
		if _, err := p.c.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: qgjob.AgentID(id), Incarnation: 1}); err != nil {
			p.t.Fatal(err)
		}
		req := qgjob.CompleteRequest{AgentID: qgjob.AgentID(id), Incarnation: 1, Outcome: outcome, Digest: "digest-1", TestMS: test.Milliseconds(), Install: qgjob.InstallAvoided}
		if has := (qgjob.Installed{OrgID: o.Job.OrgID, AppVersionID: o.Job.AppVersionID}); has != version {
			version, req.Install, req.InstallMS = has, qgjob.InstallDone, install.Milliseconds()
		}
		if _, err := p.c.Complete(ctx, o.LeaseID, req); err != nil {
			p.t.Fatal(err)
		}
		done++
	}
}

func (p *past) qgjob(args ...string) (code int, out, err string) {
	p.t.Helper()
	return newProgram(p.t, p.base).run(args...)
}

// TestReplay plays again what a real server ran: the same jobs with the
// durations they had, on the fleet that is there.
func TestReplay(t *testing.T) {
	p := newPast(t)
	defer p.stop(t, syscall.SIGTERM)
	if code, _, err := p.qgjob("simulate", "--replay"); code != exitUsage || !strings.Contains(err, "the server ran no test") {
		t.Errorf("nothing ran: exit %d, %q", code, err)
	}
	p.agent("a1", qgjob.TargetEmulator, map[string]string{"os": "14"})
	p.submit("acme", "v1", qgjob.TargetEmulator, 5, "a.js", "b.js", "c.js", "d.js")
	if done := p.work("a1", 30*time.Second, 100*time.Second, qgjob.OutcomePassed); done != 4 {
		t.Fatalf("%d jobs ran", done)
	}
	figures := func(args ...string) (m sim.Metrics) {
		t.Helper()
		code, out, err := p.qgjob(append([]string{"simulate", "--replay", "--json"}, args...)...)
		if fail := json.Unmarshal([]byte(out), &m); code != 0 || fail != nil {
			t.Fatalf("simulate --replay %v: exit %d, %v\n%s%s", args, code, fail, out, err)
		}
		return m
	}
	if m := figures(); m.Workload != "replay" || m.MakespanS != 430 || m.Installs != 1 {
		t.Errorf("on its own agent: %+v; want 30 s of install and four tests of 100 s", m)
	}
	if m := figures("--agents=+3"); m.MakespanS < 130 || m.MakespanS >= 330 || m.Installs < 2 {
		t.Errorf("on four agents: %+v; want several installs, and the result sooner", m)
	}
	// Another org, another target, failures too; what was cancelled is not played.
	p.agent("b1", qgjob.TargetBrowser, nil)
	p.submit("globex", "v1", qgjob.TargetBrowser, 8, "x.js", "y.js")
	p.work("b1", 5*time.Second, 20*time.Second, qgjob.OutcomeFailed)
	gone := p.submit("globex", "v2", qgjob.TargetBrowser, 8, "z.js")
	if _, err := p.c.CancelJob(context.Background(), gone.JobIDs[0]); err != nil {
		t.Fatal(err)
	}
	if code, out, err := p.qgjob("simulate", "--replay"); code != 0 || !strings.Contains(out, "replay on 2 agents, policy qgjob: 6 jobs") {
		t.Errorf("all: exit %d\n%s%s", code, out, err)
	}
	if m := figures("--org-id=globex"); m.MakespanS != 45 || m.Installs != 1 {
		t.Errorf("globex: %+v; want 5 s of install and two tests of 20 s", m)
	}
	if code, _, err := p.qgjob("simulate", "--replay", "--org-id=initech"); code != exitUsage || !strings.Contains(err, "--since") {
		t.Errorf("an org that ran nothing: exit %d, %q", code, err)
	}
	if code, out, err := p.qgjob("simulate", "--replay", "--target-p95=5m"); code != 0 || !strings.Contains(out, "are enough") {
		t.Errorf("looking for a fleet: exit %d\n%s%s", code, out, err)
	}
	for _, policy := range []string{"fifo", "priority", "pin"} {
		figures("--policy=" + policy)
	}
}

// TestReplayTakesWeights: what an org's share is now.
func TestReplayTakesWeights(t *testing.T) {
	p := newPast(t)
	defer p.stop(t, syscall.SIGTERM)
	p.agent("a1", qgjob.TargetEmulator, nil)
	p.submit("acme", "v1", qgjob.TargetEmulator, 5, "a.js")
	p.work("a1", time.Second, time.Second, qgjob.OutcomePassed)
	if code, _, err := p.qgjob("org", "set", "--org-id=acme", "--weight=3"); code != 0 {
		t.Fatal(err)
	}
	a := &app{printer: newPrinter(p.out, p.err, nil), env: map[string]string{}, dir: p.dir, servers: []string{p.base}}
	w, err := a.history(t.Context(), &simulateOptions{since: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Orgs) != 1 || w.Orgs[0].Weight != 3 {
		t.Errorf("orgs %+v", w.Orgs)
	}
}

// TestReplayed is the making of a workload, without a server.
func TestReplayed(t *testing.T) {
	at := func(s int) time.Time { return day.Add(time.Duration(s) * time.Second) }
	build := qgjob.Sum(strings.Repeat("a", 64))
	jobs := []qgjob.HistoryJob{
		{JobID: 1, RunID: 1, OrgID: "acme", AppVersionID: "v1", TestPath: "a.js", Target: qgjob.TargetDevice, Priority: 5, SubmittedAt: at(100), TestMS: 9000, InstallMS: 4000},
		{JobID: 2, RunID: 1, OrgID: "acme", AppVersionID: "v1", TestPath: "b.js", Target: qgjob.TargetDevice, Priority: 1, SubmittedAt: at(100), TestMS: 500, InstallMS: 8000, Requires: map[string]string{"os": "14"}},
		{JobID: 3, RunID: 2, OrgID: "acme", AppVersionID: "v1", BuildSHA256: build, TestPath: "a.js", Target: qgjob.TargetDevice, Priority: 5, SubmittedAt: at(90), TestMS: 1}, // the clock was set back
	}
	agents := []qgjob.Agent{
		{AgentID: "a1", Target: qgjob.TargetDevice, Labels: map[string]string{"os": "14"}, Status: qgjob.AgentIdle},
		{AgentID: "a2", Target: qgjob.TargetBrowserStack, Status: qgjob.AgentBusy},
		{AgentID: "a3", Target: qgjob.TargetDevice, Status: qgjob.AgentOffline},
	}
	w := replayed(jobs, agents)
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.Jobs[0].AtS, w.Jobs[1].AtS, w.Jobs[2].AtS); got != "10 10 0" {
		t.Errorf("submitted at %s", got)
	}
	if got := fmt.Sprint(w.Jobs[0].DurationS, w.Jobs[1].DurationS, w.Jobs[2].DurationS); got != "9 0.5 0.001" {
		t.Errorf("durations %s", got)
	}
	if len(w.Apps) != 2 || w.Apps[0].InstallS != 6 || w.Apps[1].InstallS != 6 || w.Apps[0].Version == w.Apps[1].Version {
		t.Errorf("apps %+v; want two builds, of which the second takes the mean of the first", w.Apps)
	}
	if len(w.Agents) != 2 || w.Agents[0].SharedInstall || !w.Agents[1].SharedInstall {
		t.Errorf("agents %+v; want those that are there", w.Agents)
	}
	if r := w.Jobs[1].Requires; r["os"] != "14" || r[targetLabel] != "device" || w.Agents[0].Labels[targetLabel] != "device" {
		t.Errorf("requires %v, labels %v", r, w.Agents[0].Labels)
	}
	for i := range agents { // in the evening, when all are switched off: the fleet that is known
		agents[i].Status = qgjob.AgentOffline
	}
	if w := replayed(jobs, agents); len(w.Agents) != 3 {
		t.Errorf("with all agents offline the fleet is %+v", w.Agents)
	}
}
