package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// noSupersede is the word for no key.
const noSupersede = "none"

// supersedeKey is the key under which a run stands in for older ones: as
// given, else of the CI job: its repository, its branch or pull request, and
// its workflow. Outside of CI there is none by default: whoever submits by
// hand does not expect to stop a colleague.
func supersedeKey(env map[string]string, given string) string {
	switch {
	case given == noSupersede:
		return ""
	case given != "":
		return given
	}
	var parts []string
	switch {
	case onGitHub(env) && env["ACT"] != "true":
		parts = []string{env["GITHUB_REPOSITORY"], env["GITHUB_REF"], env["GITHUB_WORKFLOW"]}
	case env["GITLAB_CI"] == "true":
		ref := env["CI_COMMIT_REF_NAME"]
		if mr := env["CI_MERGE_REQUEST_IID"]; mr != "" {
			ref = "merge request " + mr
		}
		parts = []string{env["CI_PROJECT_PATH"], ref, env["CI_PIPELINE_SOURCE"]}
	case env["BUILDKITE"] == "true":
		parts = []string{env["BUILDKITE_REPO"], env["BUILDKITE_BRANCH"], env["BUILDKITE_PIPELINE_SLUG"]}
	case env["JENKINS_URL"] != "":
		parts = []string{env["JENKINS_URL"], env["BRANCH_NAME"], env["JOB_NAME"]}
	default:
		return ""
	}
	for _, p := range parts[:2] {
		if p == "" {
			return "" // it would stand in for everybody's
		}
	}
	return fitting(strings.Join(parts, " "))
}

// fitting is a key that the server takes, of whatever a workflow and a branch
// are called: nobody asked for the default, so it must not be refused.
func fitting(key string) string {
	if len(key) <= qgjob.MaxSupersedeKey && !strings.ContainsFunc(key, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return key
	}
	h := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(h[:])
}

// submit asks for a run. A server of the version before refuses the default
// key, which nobody asked for: then the run stands in for none.
func (o *submitOptions) submit(ctx context.Context, c *client.Client, req qgjob.SubmitRequest) (qgjob.SubmitResponse, error) {
	got, err := c.Submit(ctx, req, o.key)
	if e, ok := asError(err); ok && o.supersede == "" && e.Kind == qgjob.KindInvalid && e.Field == "supersede_key" {
		req.SupersedeKey = ""
		return c.Submit(ctx, req, o.key)
	}
	return got, err
}

// ciRun names the CI run that a job belongs to, so that the legs of a matrix
// leave each other alone; empty outside of CI, and under nektos/act, whose runs
// all have the number 1.
func ciRun(env map[string]string) string {
	switch {
	case env["ACT"] == "true":
		return ""
	case onGitHub(env):
		return env["GITHUB_RUN_ID"]
	case env["GITLAB_CI"] == "true":
		return env["CI_PIPELINE_ID"]
	case env["BUILDKITE"] == "true":
		return env["BUILDKITE_BUILD_ID"]
	case env["JENKINS_URL"] != "":
		return env["BUILD_TAG"]
	}
	return ""
}
