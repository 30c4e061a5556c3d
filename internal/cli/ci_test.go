package cli

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// theJob is one job of each CI system.
var theJob = map[string][]string{
	"github":    {"GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=https://github.com", "GITHUB_REPOSITORY=o/r", "GITHUB_RUN_ID=7", "GITHUB_RUN_ATTEMPT=1", "GITHUB_JOB=e2e", "GITHUB_ACTION=__run", "QGJOB_CI_MATRIX={}"},
	"gitlab":    {"GITLAB_CI=true", "CI_SERVER_URL=https://gitlab.example", "CI_PROJECT_ID=3", "CI_JOB_ID=7"},
	"buildkite": {"BUILDKITE=true", "BUILDKITE_JOB_ID=7e-0001"},
	"jenkins":   {"JENKINS_URL=https://ci.example/", "BUILD_TAG=jenkins-e2e-7", "STAGE_NAME=shop"},
}

// TestCIKey: the key says which CI job asks for which tests, and changes with each of the two.
func TestCIKey(t *testing.T) {
	req := qgjob.SubmitRequest{OrgID: "o", Jobs: []qgjob.JobSpec{{AppVersionID: "v", TestPath: "a.js", Requires: map[string]string{"b": "1", "a": "2"}}}}
	seen := map[string]string{}
	for system, env := range theJob {
		key := ciKey(envMap(env), req, "")
		if !strings.HasPrefix(key, "ci-"+system+"-") || qgjob.CheckIdempotencyKey(key) != nil {
			t.Errorf("%s: key %q", system, key)
		}
		if again := ciKey(envMap(env), req, ""); again != key {
			t.Errorf("%s: the same job has two keys", system)
		}
		for i := 1; i < len(env); i++ { // the first says which system it is
			other := append(env[:i:i], env[i+1:]...)
			other = append(other, env[i]+"0")
			changed := ciKey(envMap(other), req, "")
			if changed == key || changed == "" || seen[changed] != "" {
				t.Errorf("%s: %s does not count", system, env[i])
			}
			seen[changed] = system
		}
		more := req
		more.Jobs = append(more.Jobs[:1:1], qgjob.JobSpec{AppVersionID: "v", TestPath: "b.js"})
		if ciKey(envMap(env), more, "") == key || ciKey(envMap(env), req, "abc") == key {
			t.Errorf("%s: the tests or the build do not count", system)
		}
	}
	for _, env := range [][]string{nil, {"CI=true"}, {"GITHUB_ACTIONS=true"}, {"GITHUB_ACTIONS=false", "GITHUB_RUN_ID=7"}, {"GITHUB_RUN_ID=7"}, {"BUILD_TAG=x"},
		append([]string{"ACT=true"}, theJob["github"]...)} {
		if key := ciKey(envMap(env), req, ""); key != "" {
			t.Errorf("%v: key %q", env, key)
		}
	}
}

// TestCIJobFindsItsRun: a step that is tried again waits for its own run; another attempt of the job, and another step, get runs of their own.
func TestCIJobFindsItsRun(t *testing.T) {
	f := newFake(t)
	submit := func(env []string, more ...string) (stdout, stderr string) {
		p := newProgram(t, f.URL)
		p.env = append(p.env, env...)
		code, out, err := p.run(append([]string{"submit", "--org-id=o", "--app-version-id=v", "--test=a.js"}, more...)...)
		if code != 0 {
			t.Fatalf("%d %q", code, err)
		}
		return out, err
	}
	env := theJob["github"]
	first, _ := submit(env)
	again, said := submit(env)
	if first != again || len(f.submits) != 1 || !strings.Contains(said, "used before") {
		t.Errorf("%q then %q, %d submits", first, again, len(f.submits))
	}
	for n, other := range [][]string{append(env, "GITHUB_RUN_ATTEMPT=2"), append(env, "GITHUB_ACTION=__run_2"), append(env, "ACT=true"), append(env, "ACT=true"), {}, {}} {
		if submit(other); len(f.submits) != n+2 {
			t.Errorf("%v: %d submits", other[max(0, len(other)-1):], len(f.submits))
		}
	}
	before := len(f.submits)
	submit(env, "--idempotency-key=mine")
	submit(append(env, "GITHUB_RUN_ATTEMPT=3"), "--idempotency-key=mine")
	if len(f.submits) != before+1 {
		t.Errorf("the key that was given does not win: %d submits", len(f.submits)-before)
	}
}

func TestInputs(t *testing.T) {
	f := newFake(t)
	p := newProgram(t, f.URL)
	p.env = append(p.env, "QGJOB_INPUT_ORG_ID=o", "QGJOB_INPUT_APP_VERSION_ID=1.0 $(touch pwned) `x`\n", "QGJOB_INPUT_TEST=tests/a.js\n\n  tests/b c.js \r\n",
		"QGJOB_INPUT_TARGET=browser", "QGJOB_INPUT_RETRIES=2", "QGJOB_INPUT_WAIT=false", "QGJOB_INPUT_PRIORITY=", "QGJOB_INPUT_REQUIRES=os=14\nmodel=p8", "QGJOB_INPUT_SERVER="+f.URL,
		"QGJOB_TARGET=device")
	if code, _, err := p.run("submit", "--from-env", "--retries=1"); code != 0 {
		t.Fatalf("%d %q", code, err)
	}
	req := f.submits[0]
	if len(req.Jobs) != 2 || req.Jobs[1].TestPath != "tests/b c.js" {
		t.Fatalf("%+v", req)
	}
	if j := req.Jobs[0]; j.AppVersionID != "1.0 $(touch pwned) `x`" || j.Target != qgjob.TargetBrowser || j.Retries != 1 || j.Priority != 1 || qgjob.LabelText(j.Requires) != "model=p8,os=14" {
		t.Errorf("%+v", j)
	}
	for _, test := range []struct{ env, says string }{
		{"QGJOB_INPUT_TESTS=a.js", "QGJOB_INPUT_TESTS belongs to no flag"},
		{"QGJOB_INPUT_FROM_ENV=true", "belongs to no flag"},
		{"QGJOB_INPUT_HELP=true", "belongs to no flag"},
		{"QGJOB_INPUT_TARGET=browser\ndevice", "--target: takes one value; 2 lines were given"},
		{"QGJOB_INPUT_RETRIES=many", "--retries"},
		{"QGJOB_INPUT_WAIT=perhaps", "--wait"},
	} {
		p := newProgram(t, f.URL)
		p.env = append(p.env, test.env)
		if code, _, err := p.run("submit", "--from-env", "--org-id=o", "--app-version-id=v", "--test=a.js"); code != 2 || !strings.Contains(err, test.says) || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: %d %q", test.env, code, err)
		}
	}
	p = newProgram(t, f.URL)
	p.env = append(p.env, "QGJOB_INPUT_TESTS=a.js", "QGJOB_INPUT_ORG_ID=o")
	if code, _, err := p.run("submit", "--app-version-id=v", "--test=a.js"); code != 2 || !strings.Contains(err, "--org-id") {
		t.Errorf("read without --from-env: %d %q", code, err)
	}
}
