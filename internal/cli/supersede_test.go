package cli

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestSupersedeKey(t *testing.T) {
	github := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/shop", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_WORKFLOW": "e2e", "GITHUB_RUN_ID": "17"}
	with := func(more ...string) map[string]string {
		env := maps.Clone(github)
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	for _, c := range []struct {
		name        string
		env         map[string]string
		given, want string
		run         string
	}{
		{"by hand", nil, "", "", ""},
		{"given", nil, "mine", "mine", ""},
		{"GitHub", github, "", "acme/shop refs/pull/7/merge e2e", "17"},
		{"given in CI", github, "mine", "mine", "17"},
		{"none", github, "none", "", "17"},
		{"act numbers all runs 1", with("ACT", "true"), "", "", ""},
		{"act, given", with("ACT", "true"), "mine", "mine", ""},
		{"without a ref it would stop everybody", with("GITHUB_REF", ""), "", "", "17"},
		{"a merge request", map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/shop", "CI_COMMIT_REF_NAME": "x", "CI_MERGE_REQUEST_IID": "4", "CI_PIPELINE_SOURCE": "push", "CI_PIPELINE_ID": "9"},
			"", "acme/shop merge request 4 push", "9"},
		{"Buildkite", map[string]string{"BUILDKITE": "true", "BUILDKITE_REPO": "r", "BUILDKITE_BRANCH": "b", "BUILDKITE_PIPELINE_SLUG": "p", "BUILDKITE_BUILD_ID": "i"}, "", "r b p", "i"},
		{"Jenkins", map[string]string{"JENKINS_URL": "u", "BRANCH_NAME": "b", "JOB_NAME": "j", "BUILD_TAG": "t"}, "", "u b j", "t"},
		{"Jenkins without a branch", map[string]string{"JENKINS_URL": "u", "JOB_NAME": "j"}, "", "", ""},
	} {
		if got := supersedeKey(c.env, c.given); got != c.want {
			t.Errorf("%s: key %q, want %q", c.name, got, c.want)
		}
		if got := ciRun(c.env); got != c.run {
			t.Errorf("%s: CI run %q, want %q", c.name, got, c.run)
		}
	}
}

// TestDefaultSupersedeKeyIsTaken: nobody asked for the default, so no name of
// a workflow or a branch may have it refused; and different names stay so.
func TestDefaultSupersedeKeyIsTaken(t *testing.T) {
	seen := map[string]bool{}
	for _, workflow := range []string{"e2e", strings.Repeat("w", 400), strings.Repeat("w", 401), "\u2068e2e\u200d", "e2e\u00a0nightly", "ende\u0301 ✔ 测试"} {
		key := supersedeKey(map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/shop", "GITHUB_REF": "refs/heads/main", "GITHUB_WORKFLOW": workflow}, "")
		req := qgjob.SubmitRequest{OrgID: "acme", SupersedeKey: key, Jobs: []qgjob.JobSpec{{AppVersionID: "v", TestPath: "t", Target: qgjob.TargetBrowser}}}
		if err := req.Check(); err != nil || key == "" || seen[key] {
			t.Errorf("%.20q: key %q, %v", workflow, key, err)
		}
		seen[key] = true
	}
}

// TestSupersedeKeyAndAnOlderServer: a server of the version before knows no
// supersede key. The default is left out there; what was asked for is refused.
func TestSupersedeKeyAndAnOlderServer(t *testing.T) {
	for _, c := range []struct {
		given string
		code  int
	}{{"", 0}, {"mine", 2}} {
		f := newFake(t)
		f.deny = func(w http.ResponseWriter, r *http.Request) bool {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if !bytes.Contains(body, []byte("supersede_key")) {
				return false
			}
			give(w, http.StatusUnprocessableEntity, qgjob.Invalid("supersede_key", "unexpected property"))
			return true
		}
		p := newProgram(t, f.URL)
		p.env = append(p.env, "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=acme/shop", "GITHUB_REF=refs/heads/main", "GITHUB_WORKFLOW=e2e", "GITHUB_RUN_ID=17")
		code, _, said := p.run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js", "--supersede-key="+c.given)
		if code != c.code || len(f.submits) != 1-c.code/2 {
			t.Errorf("given %q: %d, %d submits\n%s", c.given, code, len(f.submits), said)
		}
	}
}
