package oidc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
	"go.yaml.in/yaml/v3"
)

// GitHub is the issuer of GitHub Actions.
const GitHub = "https://token.actions.githubusercontent.com"

// Events that a workflow run may be of when a trust names none, and those that
// no trust may name: they run in the base repository, with its rights, on code
// or at the wish of whoever opens a pull request.
var (
	DefaultEvents = []string{"push", "pull_request", "schedule", "workflow_dispatch", "merge_group"}
	neverEvents   = []string{"pull_request_target", "workflow_run"}
)

// Config is whom the server trusts.
type Config struct {
	Issuer   string  `yaml:"issuer"`   // default GitHub; https, or http on loopback
	Audience string  `yaml:"audience"` // the one that id-tokens must be asked for: this server's address
	Trust    []Trust `yaml:"trust"`
}

// Trust is one repository, known by its numbers, which nobody can take over by
// renaming, and the org that it acts for. Empty lists narrow nothing, except
// Events. A pattern may end in *.
type Trust struct {
	RepositoryID      string   `yaml:"repository_id"`
	RepositoryOwnerID string   `yaml:"repository_owner_id"`
	OrgID             string   `yaml:"org_id"`
	Events            []string `yaml:"events"`
	Refs              []string `yaml:"refs"`         // such as refs/heads/main
	Environments      []string `yaml:"environments"` // exact
	Workflows         []string `yaml:"workflows"`    // of job_workflow_ref, such as octo/app/.github/workflows/e2e.yml@refs/heads/main
	Subject           string   `yaml:"subject"`      // exact, for repositories with a subject format of their own
}

// ReadConfig reads the file of --oidc-config. Unknown keys, numbers that are
// none, and events that must not be trusted are refused with what to write.
func ReadConfig(text []byte) (*Config, error) {
	c := &Config{}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, qgjob.Invalid("oidc-config", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&Config{}); !errors.Is(err, io.EOF) {
		return nil, qgjob.Invalid("oidc-config", "the file must hold one document")
	}
	return c, c.Check()
}

// Check fills in what was left out and refuses what cannot be trusted.
func (c *Config) Check() error {
	if c.Issuer == "" {
		c.Issuer = GitHub
	}
	bad := func(format string, a ...any) error { return qgjob.Invalid("oidc-config", fmt.Sprintf(format, a...)) }
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.HasSuffix(c.Issuer, "/"):
		return bad("issuer %q is not an address such as %s", c.Issuer, GitHub)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return bad("issuer %q must be https", c.Issuer)
	case c.Audience == "" || strings.TrimSpace(c.Audience) != c.Audience || len(c.Audience) > 255:
		return bad("audience must be this server's address as CI names it, such as https://qgjob.example.com")
	case len(c.Trust) == 0:
		return bad("trust must name at least one repository")
	}
	for i := range c.Trust {
		if err := c.Trust[i].check(); err != nil {
			return bad("trust[%d]: %v", i, err)
		}
	}
	return nil
}

func (t *Trust) check() error {
	if !numeric(t.RepositoryID) || !numeric(t.RepositoryOwnerID) {
		return errors.New("repository_id and repository_owner_id must be GitHub's numbers: gh api repos/OWNER/NAME --jq '.id, .owner.id'")
	}
	if err := qgjob.CheckName("org_id", t.OrgID); err != nil {
		return err
	}
	if len(t.Events) == 0 {
		t.Events = DefaultEvents
	}
	for _, e := range t.Events {
		if slices.Contains(neverEvents, e) {
			return fmt.Errorf("event %s is never trusted: it runs with the repository's rights for whoever opens a pull request", e)
		}
		if e == "" || strings.Contains(e, "*") {
			return fmt.Errorf("event %q must be a name such as push", e)
		}
	}
	for _, p := range slices.Concat(t.Refs, t.Workflows) {
		if star := strings.Index(p, "*"); p == "" || p == "*" || star >= 0 && star != len(p)-1 {
			return fmt.Errorf("pattern %q must be a text, which may end in *", p)
		}
	}
	return nil
}

// numeric reports whether a text is a number as GitHub writes its ids.
func numeric(s string) bool {
	return s != "" && len(s) <= 20 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

func matches(patterns []string, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "*")
		return p == text || open && strings.HasPrefix(text, prefix)
	})
}
