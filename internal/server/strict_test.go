package server

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestStrictJSON(t *testing.T) {
	r := newRig(t, rigOptions{})
	const job = `{"app_version_id":"v1","test_path":"a.js","target":"emulator"}`
	for _, test := range []struct {
		name, body, field, says string
		status                  int
	}{
		{"empty", ``, "body", "not JSON", 400},
		{"blank", "  \n", "body", "not JSON", 400},
		{"no JSON", `hello`, "body", "byte 0", 400},
		{"cut off", `{"org_id":"acme","jobs":[`, "jobs", "not JSON", 400},
		{"comment", `{/* hi */"org_id":"acme"}`, "body", "not JSON", 400},
		{"trailing comma", `{"org_id":"acme",}`, "body", "not JSON", 400},
		{"invalid UTF-8", "{\"org_id\":\"ac\xffme\"}", "org_id", "not JSON", 400},
		{"lone surrogate", `{"org_id":"\ud800"}`, "org_id", "not JSON", 400},
		{"trailing value", `{"org_id":"acme","jobs":[` + job + `]} {}`, "body", "behind", 400},
		{"trailing text", `{"org_id":"acme","jobs":[` + job + `]}]`, "body", "behind", 400},
		{"duplicate key", `{"org_id":"acme","org_id":"evil","jobs":[` + job + `]}`, "org_id", "twice", 400},
		{"duplicate escaped key", `{"org_id":"acme","org\u005fid":"evil","jobs":[` + job + `]}`, "org_id", "twice", 400},
		{"duplicate key inside", `{"org_id":"acme","jobs":[{"target":"emulator","target":"device"}]}`, "jobs[0].target", "twice", 400},
		{"duplicate label", `{"org_id":"acme","labels":{"a":"1","a":"2"},"jobs":[` + job + `]}`, "labels.a", "twice", 400},
		{"too deep", `{"org_id":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "body", "deeper than 32", 400},
		{"unknown key", `{"org_id":"acme","jobs":[` + job + `],"owner":"me"}`, "owner", "not a known field", 422},
		{"unknown key inside", `{"org_id":"acme","jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator","prio":9}]}`, "jobs[0].prio", "not a known field", 422},
		{"$schema", `{"$schema":"x","org_id":"acme","jobs":[` + job + `]}`, "$schema", "not a known field", 422},
		{"case variant", `{"ORG_ID":"acme","jobs":[` + job + `]}`, "org_id", "required", 422},
		{"case variant beside", `{"org_id":"acme","Org_Id":"evil","jobs":[` + job + `]}`, "Org_Id", "not a known field", 422},
		{"list", `[]`, "body", "object", 422},
		{"null", `null`, "body", "object", 422},
		{"text", `"x"`, "body", "object", 422},
		{"wrong type", `{"org_id":7,"jobs":[` + job + `]}`, "org_id", "string", 422},
		{"wrong type of list", `{"org_id":"acme","jobs":{}}`, "jobs", "array", 422},
		{"null value", `{"org_id":null,"jobs":[` + job + `]}`, "org_id", "null", 422},
		{"null label", `{"org_id":"acme","labels":{"a":null},"jobs":[` + job + `]}`, "labels.a", "null", 422},
		{"labels null", `{"org_id":"acme","labels":null,"jobs":[` + job + `]}`, "", "", 201},
		{"good", `{"org_id":"acme","jobs":[` + job + `]}` + "\r\n\t ", "", "", 201},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &rig{Server: r.Server, t: t, client: r.client}
			if test.status < 300 {
				must[qgjob.SubmitResponse](r, test.status, "POST", "/v1/runs", test.body)
				return
			}
			p := r.refuse(test.status, qgjob.KindInvalid, test.field, "POST", "/v1/runs", test.body)
			if !strings.Contains(p.Detail, test.says) {
				t.Errorf("detail %q does not say %q", p.Detail, test.says)
			}
		})
	}
}

// Every route that takes a body is as strict as the others.
func TestStrictEverywhere(t *testing.T) {
	r := newRig(t, rigOptions{})
	n := 0
	for _, route := range r.routes() {
		if route.takes == nil {
			continue
		}
		n++
		path := strings.NewReplacer("{agent_id}", "a1", "{lease_id}", strings.Repeat("0", 32), "{org_id}", "acme", "{app_version_id}", "v1").Replace(route.Pattern)
		for body, status := range map[string]int{`{"a":1,"a":2}`: 400, `{} {}`: 400, `{`: 400, `{"zzz":1}`: 422, `7`: 422} {
			if p := must[problem](r, status, route.Method, path, body); p.Kind != qgjob.KindInvalid {
				t.Errorf("%s %s %s: %+v", route.Method, path, body, p)
			}
		}
		r.refuse(415, qgjob.KindInvalid, "Content-Type", route.Method, path, `{}`, "Content-Type", "text/plain")
	}
	if n < 8 {
		t.Errorf("only %d routes take a body: the test looks at the wrong table", n)
	}
}

func TestContentType(t *testing.T) {
	r := newRig(t, rigOptions{})
	const body = `{"org_id":"acme","jobs":[{"app_version_id":"v1","test_path":"a.js","target":"emulator"}]}`
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", body, "Content-Type", kind)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "application/cbor", ";;;"} {
		r.refuse(415, qgjob.KindInvalid, "Content-Type", "POST", "/v1/runs", body, "Content-Type", kind)
	}
	// What a client would rather read does not matter: it gets JSON.
	if p := r.ask("GET", "/v1/runs", nil, "Accept", "text/html"); p.Status != 200 || p.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Accept text/html: %s as %s", p, p.Header.Get("Content-Type"))
	}
}

func TestFieldOf(t *testing.T) {
	for pointer, want := range map[string]string{
		"": "body", "/org_id": "org_id", "/jobs/3/test_path": "jobs[3].test_path", "/jobs/0": "jobs[0]", "/labels/a~1b~0c": "labels.a/b~c",
		"/" + strings.Repeat("x", 100): strings.Repeat("x", 64) + "…",
	} {
		if got := fieldOf(pointer); got != want {
			t.Errorf("fieldOf(%q) = %q; want %q", pointer, got, want)
		}
	}
}

// What checkJSON lets through, huma's decoder takes without surprises: the
// two agree on what JSON is.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"org_id":"acme","jobs":[{"target":"emulator"}]}`, `{"a":{"a":null}}`, `[[[]]]`, `1e999`, `"\ud800"`, "\xff", `{"a":1}{`, ``, `{"a":1,"\u0061":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := checkJSON(body, map[string]bool{"jobs": true})
		if err != nil && qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Fatalf("%q: %v is not the client's fault", body, err)
		}
		var v any
		if decoded := unmarshal(body, &v); err == nil && decoded != nil && !strings.HasSuffix(decoded.Error(), "does not fit") { // 1e999
			t.Fatalf("%q passes the check and not the decoder: %v", body, decoded)
		}
	})
}
