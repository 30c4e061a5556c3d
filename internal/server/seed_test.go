package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

const goodJob = `{"org_id":"qualgent","app_version_id":"xyz123","test_path":"tests/onboarding.spec.js","target":"emulator"}`

// exchange is one request to the seed's routes and the exact answer to it.
type exchange struct {
	method, path, body string
	header             string // "Name: value"; default Content-Type: application/json
	status             int
	want               string
}

func (x exchange) run(h *house) {
	h.Helper()
	header := x.header
	if header == "" {
		header = "Content-Type: application/json"
	}
	res := h.send(x.method, x.path, x.body, header)
	status, body := h.read(res)
	if status != x.status || body != x.want {
		h.Errorf("%s %s %s (%s)\n got %d %s\nwant %d %s", x.method, x.path, x.body, header, status, body, x.status, x.want)
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/json" && status != http.StatusTemporaryRedirect {
		h.Errorf("%s %s: Content-Type %q", x.method, x.path, kind)
	}
}

// TestSeedStory is the mission's own example, byte for byte.
func TestSeedStory(t *testing.T) {
	h := newHouse(t)
	urgent := strings.Replace(goodJob, `"target"`, `"priority":7,"target"`, 1)
	job := func(n, priority int) string {
		return fmt.Sprintf(`{"job_id":"job_%d","org_id":"qualgent","app_version_id":"xyz123","test_path":"tests/onboarding.spec.js","priority":%d,"target":"emulator","status":"queued"}`, n, priority)
	}
	for _, x := range []exchange{
		{"GET", "/health", "", "", 200, `{"status":"ok"}`},
		{"GET", "/agents", "", "", 200, `[]`},
		{"GET", "/jobs/group/xyz123", "", "", 200, `[]`},
		{"POST", "/jobs/submit", goodJob, "", 200, `{"message":"Job submitted","job_id":"job_1"}`},
		{"POST", "/jobs/submit", urgent, "", 200, `{"message":"Job submitted","job_id":"job_2"}`},
		{"GET", "/jobs/status/job_1", "", "", 200, job(1, 1)},
		{"GET", "/jobs/status/job_3", "", "", 404, `{"detail":"Job not found"}`},
		{"GET", "/jobs/status/nonsense", "", "", 404, `{"detail":"Job not found"}`},
		{"GET", "/jobs/status/job_01", "", "", 404, `{"detail":"Job not found"}`},
		{"GET", "/jobs/group/xyz123", "", "", 200, `[` + job(2, 7) + `,` + job(1, 1) + `]`},
		{"GET", "/jobs/group/xyz123?org_id=qualgent", "", "", 200, `[` + job(2, 7) + `,` + job(1, 1) + `]`},
		{"GET", "/jobs/group/xyz123?org_id=other", "", "", 200, `[]`},
		{"GET", "/jobs/group/abc", "", "", 200, `[]`},
		{"POST", "/agents/register", `{"agent_id":"a1","target":"emulator"}`, "", 200, `{"agent_id":"a1","target":"emulator","status":"idle"}`},
		{"POST", "/agents/register", `{"agent_id":"a1","target":"device"}`, "", 200, `{"agent_id":"a1","target":"emulator","status":"idle"}`},
		{"GET", "/agents", "", "", 200, `[{"agent_id":"a1","target":"emulator","status":"idle","assigned_group":null}]`},
		{"POST", "/agents/assign", `{"agent_id":"a2","app_version_id":"xyz123"}`, "", 400, `{"detail":"Agent not available or already busy"}`},
		{"POST", "/agents/assign", `{"agent_id":"a1","app_version_id":"xyz123"}`, "", 200, `{"message":"Group xyz123 assigned to agent a1"}`},
		{"POST", "/agents/assign", `{"agent_id":"a1","app_version_id":"xyz123"}`, "", 400, `{"detail":"Agent not available or already busy"}`},
		{"GET", "/agents", "", "", 200, `[{"agent_id":"a1","target":"emulator","status":"idle","assigned_group":"xyz123"}]`},
	} {
		x.run(h)
	}
}

func detail(loc, msg, kind string) string {
	return fmt.Sprintf(`{"loc":["body"%s],"msg":"%s","type":"%s"}`, loc, msg, kind)
}

func refusal422(parts ...string) string { return `{"detail":[` + strings.Join(parts, ",") + `]}` }

// with is goodJob with one field set to another value, or left out ("").
func with(field, value string) string {
	fields := map[string]string{"org_id": `"qualgent"`, "app_version_id": `"xyz123"`, "test_path": `"tests/a.spec.js"`, "target": `"emulator"`, field: value}
	var parts []string
	for _, k := range qgjob.SortedKeys(fields) {
		if fields[k] != "" {
			parts = append(parts, `"`+k+`":`+fields[k])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

const (
	anyTarget = "Input should be 'emulator', 'device', 'browserstack' or 'browser'"
	notObject = "Input should be a valid dictionary or object to extract fields from"
)

func TestSeedRefusesBadBodies(t *testing.T) {
	h := newHouse(t)
	field := func(name, msg, kind string) string { return refusal422(detail(`,"`+name+`"`, msg, kind)) }
	for body, want := range map[string]string{
		``:                     refusal422(detail("", "Field required", "missing")),
		` `:                    refusal422(detail("", "Field required", "missing")),
		`null`:                 refusal422(detail("", "Field required", "missing")),
		`[]`:                   refusal422(detail("", notObject, "model_attributes_type")),
		`"x"`:                  refusal422(detail("", notObject, "model_attributes_type")),
		`7`:                    refusal422(detail("", notObject, "model_attributes_type")),
		`{"org_id":`:           refusal422(detail(",10", "JSON decode error", "json_invalid")),
		`{"org_id" "x"}`:       refusal422(detail(",10", "JSON decode error", "json_invalid")),
		goodJob + `x`:          refusal422(detail(fmt.Sprintf(",%d", len(goodJob)), "JSON decode error", "json_invalid")),
		goodJob + ` {}`:        refusal422(detail(fmt.Sprintf(",%d", len(goodJob)+2), "JSON decode error", "json_invalid")),
		"{\"org_id\":\"\xff\"": refusal422(detail(",11", "JSON decode error", "json_invalid")),
		`{"priority":NaN}`:     refusal422(detail(",12", "JSON decode error", "json_invalid")),
		`{}`: refusal422(detail(`,"org_id"`, "Field required", "missing"), detail(`,"app_version_id"`, "Field required", "missing"),
			detail(`,"test_path"`, "Field required", "missing"), detail(`,"target"`, "Field required", "missing")),
		with("target", ""):                               field("target", "Field required", "missing"),
		with("target", `"iphone"`):                       field("target", anyTarget, "enum"),
		with("target", `""`):                             field("target", anyTarget, "enum"),
		with("target", `null`):                           field("target", anyTarget, "enum"),
		with("target", `"Emulator"`):                     field("target", anyTarget, "enum"),
		with("org_id", `7`):                              field("org_id", "Input should be a valid string", "string_type"),
		with("org_id", `null`):                           field("org_id", "Input should be a valid string", "string_type"),
		with("org_id", `["a"]`):                          field("org_id", "Input should be a valid string", "string_type"),
		with("org_id", `""`):                             field("org_id", "String should have at least 1 character", "string_too_short"),
		with("org_id", `" a"`):                           field("org_id", "Value error, org_id must not begin or end with blanks", "value_error"),
		with("org_id", `"`+strings.Repeat("a", 129)+`"`): field("org_id", "String should have at most 128 bytes", "string_too_long"),
		with("priority", `null`):                         field("priority", "Input should be a valid integer", "int_type"),
		with("priority", `true`):                         field("priority", "Input should be a valid integer", "int_type"),
		with("priority", `{}`):                           field("priority", "Input should be a valid integer", "int_type"),
		with("priority", `"high"`):                       field("priority", "Input should be a valid integer, unable to parse string as an integer", "int_parsing"),
		with("priority", `""`):                           field("priority", "Input should be a valid integer, unable to parse string as an integer", "int_parsing"),
		with("priority", `1.5`):                          field("priority", "Input should be a valid integer, got a number with a fractional part", "int_from_float"),
		with("priority", `1e999`):                        field("priority", "Input should be a finite number", "finite_number"),
		with("priority", `0`):                            field("priority", "Input should be greater than or equal to 1", "greater_than_equal"),
		with("priority", `-3`):                           field("priority", "Input should be greater than or equal to 1", "greater_than_equal"),
		with("priority", `11`):                           field("priority", "Input should be less than or equal to 10", "less_than_equal"),
		with("priority", `99999999999999999999`):         field("priority", "Input should be less than or equal to 10", "less_than_equal"),
		`{"target":"device",` + with("x", "1")[1:]:       field("target", "The key comes more than once", "duplicate_key"),
		with("x", `{"a":{"b":1,"b":2}}`):                 refusal422(detail(`,"x","a","b"`, "The key comes more than once", "duplicate_key")),
		with("test_path", `""`):                          field("test_path", "String should have at least 1 character", "string_too_short"),
	} {
		exchange{"POST", "/jobs/submit", body, "", 422, want}.run(h)
	}
	if _, jobs := h.get("/jobs/group/xyz123"); jobs != `[]` {
		t.Errorf("a refused body left a job: %s", jobs)
	}
	exchange{"POST", "/agents/register", `{"agent_id":"","target":"toaster"}`, "", 422,
		refusal422(detail(`,"agent_id"`, "String should have at least 1 character", "string_too_short"), detail(`,"target"`, anyTarget, "enum"))}.run(h)
	exchange{"POST", "/agents/assign", `{"agent_id":"a1"}`, "", 422, field("app_version_id", "Field required", "missing")}.run(h)
}

// TestSeedTakesWhatTheSeedTook: extra keys, numbers in other writings, a body
// without a Content-Type.
func TestSeedTakesWhatTheSeedTook(t *testing.T) {
	h := newHouse(t)
	for i, x := range []struct{ body, header string }{
		{goodJob, "X-None: 1"},
		{goodJob, "Content-Type: application/json; charset=utf-8"},
		{goodJob, "Content-Type: application/vnd.api+json"},
		{" \r\n\t" + goodJob + "\n", ""},
		{with("priority", `"5"`), ""}, {with("priority", `5.0`), ""}, {with("priority", `" 5 "`), ""}, {with("priority", `5e0`), ""},
		{with("surprise", `{"deep":[1,null,{"deeper":true}]}`), ""},
		{with("ORG_ID", `"somebody else"`), ""},
		{with("target", `"\u0065mulator"`), ""},
		{with("target", `"browser"`), ""}, {with("target", `"browserstack"`), ""}, {with("target", `"device"`), ""},
		{with("app_version_id", `"ü <b>&</b>"`), ""},
	} {
		exchange{"POST", "/jobs/submit", x.body, x.header, 200, fmt.Sprintf(`{"message":"Job submitted","job_id":"job_%d"}`, i+1)}.run(h)
	}
	for i := 5; i <= 8; i++ {
		if job, err := h.store.Job(t.Context(), qgjob.JobID(i)); err != nil || job.Priority != 5 {
			t.Errorf("job_%d has the priority %d (%v), not 5", i, job.Priority, err)
		}
	}
	job, err := h.store.Job(t.Context(), 10)
	if err != nil || job.OrgID != "qualgent" {
		t.Errorf("ORG_ID was taken for org_id: %q, %v", job.OrgID, err)
	}
	exchange{"GET", "/jobs/status/job_15", "", "", 200,
		`{"job_id":"job_15","org_id":"qualgent","app_version_id":"ü <b>&</b>","test_path":"tests/a.spec.js","priority":1,"target":"emulator","status":"queued"}`}.run(h)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonp", "nonsense", "application/json/x"} {
		exchange{"POST", "/jobs/submit", goodJob, "Content-Type: " + kind, 422, refusal422(detail("", notObject, "model_attributes_type"))}.run(h)
	}
}

func TestSeedAnswersOtherMethodsAndSlashes(t *testing.T) {
	h := newHouse(t)
	for _, x := range []struct{ method, path, allow string }{
		{"GET", "/jobs/submit", "POST"}, {"DELETE", "/jobs/submit", "POST"}, {"POST", "/jobs/status/job_1", "GET, HEAD"},
		{"PUT", "/agents", "GET, HEAD"}, {"GET", "/agents/register", "POST"}, {"GET", "/agents/assign", "POST"}, {"POST", "/health", "GET, HEAD"},
		{"PATCH", "/jobs/group/xyz123", "GET, HEAD"},
	} {
		exchange{x.method, x.path, "", "", 405, `{"detail":"Method Not Allowed"}`}.run(h)
		if res := h.send(x.method, x.path, ""); res.Header.Get("Allow") != x.allow {
			t.Errorf("%s %s: Allow %q, want %q", x.method, x.path, res.Header.Get("Allow"), x.allow)
		}
	}
	for _, path := range []string{"/agents", "/health", "/jobs/group/xyz123"} {
		res := h.send("HEAD", path, "")
		if status, body := h.read(res); status != 200 || body != "" || res.ContentLength < 2 {
			t.Errorf("HEAD %s: %d %q, length %d", path, status, body, res.ContentLength)
		}
	}
	for path, want := range map[string]string{"/agents/": "/agents", "/jobs/submit/": "/jobs/submit", "/jobs/group/a%2Fb/?org_id=x": "/jobs/group/a%2Fb?org_id=x"} {
		res := h.send("POST", path, goodJob)
		if status, _ := h.read(res); status != 307 || res.Header.Get("Location") != want {
			t.Errorf("POST %s: %d to %q, want 307 to %q", path, status, res.Header.Get("Location"), want)
		}
	}
	// A client that follows the redirect sends its body again and is served.
	res, err := http.Post(h.url+"/jobs/submit/", "application/json", strings.NewReader(goodJob))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := h.read(res); status != 200 || body != `{"message":"Job submitted","job_id":"job_1"}` {
		t.Errorf("after the redirect: %d %s", status, body)
	}
	if res := h.send("GET", "//evil.example/agents/", ""); strings.Contains(res.Header.Get("Location"), "//evil") {
		t.Errorf("redirects to another host: %s", res.Header.Get("Location"))
	}
}

func TestSeedBoundsTheBody(t *testing.T) {
	h := newHouse(t)
	long := with("x", `"`+strings.Repeat("y", 65<<10)+`"`)
	if status, body := h.read(h.send("POST", "/jobs/submit", long, "Content-Type: application/json")); status != 413 || !strings.Contains(body, `"detail":"`) {
		t.Errorf("announced: %d %.200s", status, body)
	}
	req := h.request(t.Context(), "POST", "/jobs/submit", "")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(long)), -1 // chunked
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := h.read(res); status != 413 || !strings.HasPrefix(body, `{"detail":"`) {
		t.Errorf("chunked: %d %.200s", status, body)
	}
}

// TestSeedShowsARealAgent: one that drains and one that is gone keep their
// words, and a busy one cannot be assigned.
func TestSeedShowsARealAgent(t *testing.T) {
	h := newHouse(t)
	h.submit("v1", 0, "a.js", "b.js")
	w := h.agent("b1")
	w.start()
	exchange{"GET", "/agents", "", "", 200, `[{"agent_id":"b1","target":"browser","status":"busy","assigned_group":"v1"}]`}.run(h)
	exchange{"POST", "/agents/assign", `{"agent_id":"b1","app_version_id":"v1"}`, "", 400, `{"detail":"Agent not available or already busy"}`}.run(h)
	exchange{"POST", "/agents/register", `{"agent_id":"b1","target":"device"}`, "", 200, `{"agent_id":"b1","target":"browser","status":"busy"}`}.run(h)
	if _, err := h.store.Drain(t.Context(), "b1", true); err != nil {
		t.Fatal(err)
	}
	exchange{"GET", "/agents", "", "", 200, `[{"agent_id":"b1","target":"browser","status":"draining","assigned_group":"v1"}]`}.run(h)
	exchange{"GET", "/jobs/status/job_1", "", "", 200,
		`{"job_id":"job_1","org_id":"acme","app_version_id":"v1","test_path":"a.js","priority":1,"target":"browser","status":"running"}`}.run(h)
}

// FuzzSeedForm: no body makes the decoder panic, and whatever it lets through
// is a job that the store takes.
func FuzzSeedForm(f *testing.F) {
	for _, s := range []string{goodJob, `{}`, `null`, `[`, `{"a":1,"a":2}`, with("priority", `"5"`), with("priority", "1e400"), with("target", `"\ud800"`), "{\"org_id\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		form := parseSeedForm(body)
		org := form.name("org_id")
		spec := qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(form.name("app_version_id")), TestPath: form.testPath("test_path"),
			Priority: form.priority("priority"), Target: form.target("target")}
		if form.broken && len(form.faults) != 1 {
			t.Fatalf("a broken body has %d faults", len(form.faults))
		}
		for _, bad := range form.faults {
			if bad.Msg == "" || bad.Type == "" || len(bad.Loc) == 0 || bad.Loc[0] != "body" {
				t.Fatalf("a fault that says nothing: %+v", bad)
			}
		}
		if len(form.faults) > 0 {
			return
		}
		if err := (qgjob.SubmitRequest{OrgID: qgjob.OrgID(org), Jobs: []qgjob.JobSpec{spec}}).Check(); err != nil {
			t.Fatalf("let through what the store refuses: %v", err)
		}
	})
}
