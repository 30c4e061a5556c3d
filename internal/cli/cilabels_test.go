package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestCILabels(t *testing.T) {
	head, merge := strings.Repeat("a", 40), strings.Repeat("b", 40)
	event := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(event, []byte(`{"pull_request":{"number":7,"head":{"sha":"`+head+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	github := func(more map[string]string) map[string]string {
		env := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": merge, "GITHUB_JOB": "e2e"}
		maps.Copy(env, more)
		return env
	}
	full := map[string]string{}
	for i := range qgjob.MaxLabels {
		full[fmt.Sprint("k", i)] = "v"
	}
	for _, c := range []struct {
		name             string
		env, given, want map[string]string
	}{
		{"no CI", map[string]string{"GITHUB_REPOSITORY": "acme/shop"}, nil, nil},
		{"another CI", map[string]string{"GITLAB_CI": "true", "CI_PIPELINE_ID": "9"}, nil, map[string]string{"ci.run": "9"}},
		{"a push", github(nil), nil, map[string]string{"github.repository": "acme/shop", "github.sha": merge, "github.context": "e2e"}},
		{"a pull request is about its head", github(map[string]string{"GITHUB_EVENT_PATH": event}), nil,
			map[string]string{"github.repository": "acme/shop", "github.sha": head, "github.pr": "7", "github.context": "e2e"}},
		{"what was given stays", github(nil), map[string]string{"github.sha": head, "x": "y"},
			map[string]string{"github.repository": "acme/shop", "github.sha": head, "github.context": "e2e", "x": "y"}},
		{"an event that cannot be read", github(map[string]string{"GITHUB_EVENT_PATH": event + "x"}), nil,
			map[string]string{"github.repository": "acme/shop", "github.sha": merge, "github.context": "e2e"}},
		{"what no label can hold", github(map[string]string{"GITHUB_JOB": "a,b"}), nil, map[string]string{"github.repository": "acme/shop", "github.sha": merge}},
		{"no room", github(nil), full, full},
	} {
		if got := ciLabels(c.env, c.given); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
