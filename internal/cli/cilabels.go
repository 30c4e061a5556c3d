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

// ciLabels adds to a run's labels what a job of GitHub Actions knows of its
// commit, so that the farm can show the verdict there. What the caller gave
// stays; what does not fit is left out.
func ciLabels(env map[string]string, given map[string]string) map[string]string {
	if !onGitHub(env) {
		return given
	}
	found := map[string]string{
		hook.LabelRepository: env["GITHUB_REPOSITORY"], hook.LabelCommit: env["GITHUB_SHA"], hook.LabelContext: env["GITHUB_JOB"],
	}
	if e, ok := readEvent(env["GITHUB_EVENT_PATH"]); ok && e.PullRequest.Number > 0 {
		found[hook.LabelPull] = strconv.Itoa(e.PullRequest.Number)
		found[hook.LabelCommit] = e.PullRequest.Head.SHA
	}
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
