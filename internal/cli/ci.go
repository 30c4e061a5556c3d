package cli

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
)

// ciSystem says how a CI system names the job that a command runs in.
type ciSystem struct {
	name   string
	marks  string   // the variable that is set there, with its value; "" stands for any value
	value  string   // of marks
	must   string   // without this one nothing tells one job from the next
	others []string // what else tells them apart; may be empty
}

// ciSystems are the systems whose jobs have a name of their own. Every variable is documented by its system:
//
//   - docs.github.com/en/actions/reference/workflows-and-actions/variables
//   - docs.gitlab.com/ci/variables/predefined_variables
//   - buildkite.com/docs/pipelines/configure/environment-variables
//   - www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
//
// GITHUB_ACTION tells the steps of a job apart: a step that is tried again finds its run, a second step of the same tests gets its own.
// QGJOB_CI_MATRIX is set by the action, because the runner does not say which leg of a matrix it runs.
var ciSystems = []ciSystem{
	{"github", "GITHUB_ACTIONS", "true", "GITHUB_RUN_ID",
		[]string{"GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "GITHUB_ACTION", "QGJOB_CI_MATRIX"}},
	{"gitlab", "GITLAB_CI", "true", "CI_JOB_ID", []string{"CI_SERVER_URL", "CI_PROJECT_ID"}},
	{"buildkite", "BUILDKITE", "true", "BUILDKITE_JOB_ID", nil},
	{"jenkins", "JENKINS_URL", "", "BUILD_TAG", []string{"JENKINS_URL", "STAGE_NAME"}},
}

// ciKey is the idempotency key of a submit inside a CI job: whoever repeats the step, of the same attempt of the same job, with the same request
// for the same app build, finds the run that is there already. It is "" outside of CI, and under nektos/act, whose runs all have the number 1:
// there the second run would be given the verdict of the first.
func ciKey(env map[string]string, req qgjob.SubmitRequest, build qgjob.Sum) string {
	if env["ACT"] == "true" {
		return ""
	}
	for _, s := range ciSystems {
		got := env[s.marks]
		if got == "" || s.value != "" && got != s.value || env[s.must] == "" {
			continue
		}
		spec, err := json.Marshal(req) // keys of maps are sorted: the same request is the same text
		if err != nil {
			return ""
		}
		h := sha256.New()
		for _, part := range append([]string{s.must}, s.others...) {
			fmt.Fprintf(h, "%s=%q\n", part, env[part])
		}
		fmt.Fprintf(h, "build=%s\n%s", build, spec)
		return "ci-" + s.name + "-" + hex.EncodeToString(h.Sum(nil))[:40]
	}
	return ""
}

// keyFor is the idempotency key of a submit that was given none: the CI job's, else a random one, so that a lost answer can be asked for again.
func (a *app) keyFor(req qgjob.SubmitRequest, build qgjob.Sum) string {
	if key := ciKey(a.env, req, build); key != "" {
		return key
	}
	return rand.Text()
}

// onGitHub says that a job of GitHub Actions runs this, or something that behaves like it.
func onGitHub(env map[string]string) bool { return strings.EqualFold(env["GITHUB_ACTIONS"], "true") }
