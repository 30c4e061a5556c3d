package cli

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"strconv"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/hook"
)

// maxEvent bounds the description of what started a CI job, in bytes.
const maxEvent = 8 << 20

// githubEvent is the part of $GITHUB_EVENT_PATH that says which commit a pull
// request is about: GITHUB_SHA is then a merge that nobody looks at
// (docs.github.com/actions/reference/events-that-trigger-workflows).
type githubEvent struct {
	PullRequest struct {
		Number int `json:"number"`
		Head   struct {
			SHA string `json:"sha"`
		} `json:"head"`
	} `json:"pull_request"`
}

// ciLabels adds to a run's labels which CI run it is of and, in a job of GitHub
// Actions, its commit, so that the farm can show the verdict there. What the caller gave
// stays; what does not fit is left out.
func ciLabels(env map[string]string, given map[string]string) map[string]string {
	found := map[string]string{qgjob.LabelCIRun: ciRun(env)}
	if !onGitHub(env) {
		return withLabels(given, found)
	}
	for k, v := range map[string]string{
		hook.LabelRepository: env["GITHUB_REPOSITORY"], hook.LabelCommit: env["GITHUB_SHA"], hook.LabelContext: env["GITHUB_JOB"],
	} {
		found[k] = v
	}
	if e, ok := readEvent(env["GITHUB_EVENT_PATH"]); ok && e.PullRequest.Number > 0 {
		found[hook.LabelPull] = strconv.Itoa(e.PullRequest.Number)
		found[hook.LabelCommit] = e.PullRequest.Head.SHA
	}
	return withLabels(given, found)
}

// withLabels adds to labels what is not there yet, and fits.
func withLabels(given, found map[string]string) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, given)
	for _, k := range qgjob.SortedKeys(found) {
		v := found[k]
		if _, taken := labels[k]; v == "" || taken || len(labels) >= qgjob.MaxLabels || qgjob.CheckLabels("label", map[string]string{k: v}) != nil {
			continue
		}
		labels[k] = v
	}
	return labels
}

func readEvent(path string) (e githubEvent, ok bool) {
	if path == "" {
		return e, false
	}
	f, err := os.Open(path)
	if err != nil {
		return e, false
	}
	defer f.Close()
	return e, json.NewDecoder(io.LimitReader(f, maxEvent)).Decode(&e) == nil
}
