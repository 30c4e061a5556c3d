package server

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

type described struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Security    []map[string][]string
		Parameters  []struct{ Name, In string }
		Responses   map[string]struct{ Content map[string]any }
	}
	Components struct {
		Schemas map[string]struct {
			Type                 string
			AdditionalProperties any
			Properties           map[string]map[string]any
			Required             []string
		}
		SecuritySchemes map[string]any
	}
}

func TestOpenAPI(t *testing.T) {
	r := newRig(t, rigOptions{token: "secret"})
	p := r.ask("GET", "/openapi.json", nil)
	var d described
	if err := json.Unmarshal(p.Body, &d); err != nil || p.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v, as %s", err, p.Header.Get("Content-Type"))
	}
	if d.OpenAPI != "3.1.0" || d.Components.SecuritySchemes["bearer"] == nil {
		t.Errorf("openapi %q, security %v", d.OpenAPI, d.Components.SecuritySchemes)
	}
	ids := map[string]string{}
	template := regexp.MustCompile(`\{([^}]*)\}`)
	for _, route := range r.routes() {
		if !strings.HasPrefix(route.Pattern, "/v1/") {
			continue
		}
		path := strings.ReplaceAll(route.Pattern, "...", "")
		op, ok := d.Paths[path][strings.ToLower(route.Method)]
		if !ok {
			t.Errorf("%s %s is not described", route.Method, path)
			continue
		}
		if op.OperationID == "" || op.Summary == "" || ids[op.OperationID] != "" {
			t.Errorf("%s %s: id %q (also %q), summary %q", route.Method, path, op.OperationID, ids[op.OperationID], op.Summary)
		}
		ids[op.OperationID] = path
		if route.Scope == scopeOpen {
			continue
		}
		if len(op.Security) == 0 {
			t.Errorf("%s %s: says nothing of the token", route.Method, path)
		}
		for _, m := range template.FindAllStringSubmatch(path, -1) {
			if !strings.Contains(fmt.Sprint(op.Parameters), "{"+m[1]+" path}") {
				t.Errorf("%s %s: parameter %s is not described: %v", route.Method, path, m[1], op.Parameters)
			}
		}
		if op.Responses["401"].Content[problemType] == nil {
			t.Errorf("%s %s: no problem for 401: %v", route.Method, path, op.Responses)
		}
	}
	if len(ids) < 35 {
		t.Errorf("%d operations; want all of /v1", len(ids))
	}
	job := d.Components.Schemas["Job"]
	if id := job.Properties["job_id"]; id["type"] != "string" || id["pattern"] != "^job_[1-9][0-9]*$" {
		t.Errorf("job_id is described as %v", id)
	}
	if id := d.Components.Schemas["Group"].Properties["group_id"]; id["type"] != "string" {
		t.Errorf("group_id is described as %v", id)
	}
	submit := d.Components.Schemas["SubmitRequest"]
	if submit.AdditionalProperties != false || fmt.Sprint(submit.Required) != "[org_id jobs]" {
		t.Errorf("SubmitRequest: %+v", submit)
	}
	if _, ok := submit.Properties["$schema"]; ok {
		t.Error("SubmitRequest has a $schema that strict JSON refuses")
	}
	if problem := d.Components.Schemas["Problem"]; problem.Properties["kind"] == nil || problem.Properties["hint"] == nil || problem.Properties["header"] != nil {
		t.Errorf("Problem: %+v", problem)
	}
	// Every $ref leads somewhere.
	for _, m := range regexp.MustCompile(`#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(p.Body), -1) {
		if _, ok := d.Components.Schemas[m[1]]; !ok {
			t.Errorf("schema %s is referred to and not there", m[1])
		}
	}
}

func TestRouteTable(t *testing.T) {
	r := newRig(t, rigOptions{})
	wanted := strings.Fields(`POST/v1/runs GET/v1/runs GET/v1/runs/{run_id} GET/v1/runs/{run_id}/events POST/v1/runs/{run_id}/cancel POST/v1/runs/{run_id}/retry
		GET/v1/runs/{run_id}/junit GET/v1/runs/{run_id}/report GET/v1/jobs GET/v1/jobs/{job_id} POST/v1/jobs/{job_id}/cancel POST/v1/jobs/{job_id}/retry
		GET/v1/jobs/{job_id}/attempts GET/v1/jobs/{job_id}/log GET/v1/jobs/{job_id}/log/events GET/v1/jobs/{job_id}/artifacts GET/v1/artifacts/{lease_id}/{name...}
		GET/v1/groups GET/v1/agents GET/v1/agents/{agent_id} PUT/v1/apps/{org_id}/{app_version_id} GET/v1/apps GET/v1/orgs/{org_id} PUT/v1/orgs/{org_id}
		GET/v1/blobs/{sha256}/info PATCH/v1/blobs/{sha256} GET/v1/blobs/{sha256} POST/v1/agents/{agent_id}/register POST/v1/agents/{agent_id}/claim
		POST/v1/agents/{agent_id}/renew POST/v1/agents/{agent_id}/drain POST/v1/agents/{agent_id}/undrain POST/v1/leases/{lease_id}/start POST/v1/leases/{lease_id}/log
		POST/v1/leases/{lease_id}/artifacts POST/v1/leases/{lease_id}/complete GET/healthz GET/readyz GET/metrics GET/openapi.json GET/docs GET/health
		POST/jobs/submit GET/jobs/status/{job_id} GET/jobs/group/{app_version_id} POST/agents/register GET/agents POST/agents/assign`)
	have := map[string]bool{}
	for _, route := range r.routes() {
		have[route.Method+route.Pattern] = true
	}
	for _, name := range wanted {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// FAULTS, API: a status route hidden behind another, state-changing GETs, any
// target, priority null that breaks an endpoint for good.
func TestFault_API(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.register("a1")
	must[problem](r, 422, "POST", "/v1/runs", `{"org_id":"acme","jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator","priority":null}]}`)
	r.submit(spec("v1", "a.js"))
	for _, route := range r.routes() {
		if route.Method != "GET" || strings.Contains(route.Pattern, "events") {
			continue
		}
		path := strings.NewReplacer("{run_id}", "run_1", "{job_id}", "job_1", "{agent_id}", "a1", "{org_id}", "acme", "{app_version_id}", "v1", "{file}", "none",
			"{sha256}", strings.Repeat("0", 64), "{lease_id}", strings.Repeat("0", 32), "{name...}", "x", "{$}", "").Replace(route.Pattern)
		if p := r.ask("GET", path, nil); p.Status >= 500 {
			t.Errorf("GET %s: %s", path, p)
		}
	}
	if j := r.job(1); j.Status != qgjob.Queued || j.Attempts != 0 {
		t.Errorf("reading everything changed the job: %+v", j)
	}
	// Ids that look like routes, and routes that look like ids.
	if p := r.ask("GET", "/v1/jobs/log", nil); p.Status != 422 {
		t.Errorf("GET /v1/jobs/log: %s", p)
	}
	must[list[qgjob.Attempt]](r, 200, "GET", "/v1/jobs/job_1/attempts", nil)
	for _, target := range []string{"", "Emulator", "toaster", "emulator "} {
		must[problem](r, 422, "POST", "/v1/agents/a2/register", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.Target(target), Runner: "exec"})
	}
	r.refuse(404, qgjob.KindNotFound, "", "GET", "/v1/agents/a2", nil)
}
