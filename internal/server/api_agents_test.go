package server

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestAgents(t *testing.T) {
	r := newRig(t, rigOptions{})
	if got := must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil); got.Items == nil || len(got.Items) != 0 {
		t.Errorf("agents %+v", got)
	}
	resp := must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/lab%2F1%20x/register", `{"incarnation":3,"target":"device","runner":"playwright","labels":{"os":"14"},"host":"lab","version":"1.0",
		"installed":{"org_id":"acme","app_version_id":"v1"}}`)
	if resp.Timing != (qgjob.Timing{LeaseTTLMS: 30_000, RenewMS: 5_000, OfferTTLMS: 10_000, PollMS: 25_000}) {
		t.Errorf("timing %+v", resp.Timing)
	}
	a := must[qgjob.Agent](r, 200, "GET", "/v1/agents/lab%2F1%20x", nil)
	if a.AgentID != "lab/1 x" || a.Status != qgjob.AgentIdle || a.Incarnation != 3 || a.Labels["os"] != "14" || a.Installed.AppVersionID != "v1" || a.Runner != "playwright" {
		t.Errorf("agent %+v", a)
	}
	r.register("a1")
	r.submit(spec("v1", "a.js"))
	r.take("a1")
	got := must[list[qgjob.Agent]](r, 200, "GET", "/v1/agents", nil).Items
	if len(got) != 2 || got[0].AgentID != "a1" || got[0].Status != qgjob.AgentBusy || *got[0].JobID != 1 || *got[0].AssignedGroup != "v1" {
		t.Errorf("agents %+v", got)
	}
	r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/agents/ghost", nil)
}

func TestRegisterRefusals(t *testing.T) {
	r := newRig(t, rigOptions{})
	for body, field := range map[string]string{
		`{"target":"emulator","runner":"exec"}`:                                                     "incarnation",
		`{"incarnation":0,"target":"emulator","runner":"exec"}`:                                     "incarnation",
		`{"incarnation":1,"runner":"exec"}`:                                                         "target",
		`{"incarnation":1,"target":"toaster","runner":"exec"}`:                                      "target",
		`{"incarnation":1,"target":"emulator"}`:                                                     "runner",
		`{"incarnation":1,"target":"emulator","runner":"` + strings.Repeat("r", 65) + `"}`:          "runner",
		`{"incarnation":1,"target":"emulator","runner":"exec","labels":{"os":7}}`:                   "labels.os",
		`{"incarnation":1,"target":"emulator","runner":"exec","labels":{"o=s":"7"}}`:                "labels",
		`{"incarnation":1,"target":"emulator","runner":"exec","installed":{"app_version_id":"v1"}}`: "installed.org_id",
	} {
		r.refuse(422, qgjob.KindInvalid, field, "POST", "/v1/agents/a1/register", body)
	}
	r.refuse(422, qgjob.KindInvalid, "agent_id", "POST", "/v1/agents/"+strings.Repeat("a", 129)+"/register", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"})
	r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/agents/a1", nil)

	must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/a1/register", qgjob.RegisterRequest{Incarnation: 5, Target: qgjob.TargetEmulator, Runner: "exec"})
	p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/agents/a1/register", qgjob.RegisterRequest{Incarnation: 4, Target: qgjob.TargetEmulator, Runner: "exec"})
	if p.Code != qgjob.CodeAgentSuperseded || p.Hint == "" {
		t.Errorf("an older incarnation: %+v", p)
	}
	must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/a1/register", qgjob.RegisterRequest{Incarnation: 5, Target: qgjob.TargetEmulator, Runner: "exec"})
}

func TestRenew(t *testing.T) {
	r, at := running(t)
	held := qgjob.LeaseID(strings.TrimPrefix(at, "/v1/leases/"))
	ghost := qgjob.LeaseID(strings.Repeat("0", 32))
	got := must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{held, ghost}})
	if got.Leases[held] != qgjob.LeaseOK || got.Leases[ghost] != qgjob.LeaseStale || got.Drain {
		t.Errorf("renewed %+v", got)
	}
	must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", `{"incarnation":1,"leases":null}`) // Go's nil list
	if j := r.job(1); j.Status != qgjob.Running {
		t.Errorf("a started job is %s after a renewal that forgot it; want running", j.Status)
	}
	r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 2})
	r.refuse(404, qgjob.KindNotFound, "", "POST", "/v1/agents/ghost/renew", qgjob.RenewRequest{Incarnation: 1})
	r.refuse(422, qgjob.KindInvalid, "leases", "POST", "/v1/agents/a1/renew", `{"incarnation":1}`)
	r.refuse(422, qgjob.KindInvalid, "leases[0]", "POST", "/v1/agents/a1/renew", `{"incarnation":1,"leases":[7]}`)
	many := qgjob.RenewRequest{Incarnation: 1, Leases: make([]qgjob.LeaseID, 257)}
	r.refuse(422, qgjob.KindInvalid, "leases", "POST", "/v1/agents/a1/renew", many)
}
