package schedule

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the rule says into the plans")

// TestPlans reads situations that a person can read, and wants the answers
// that stand below them. Each file of testdata/plans has a part "situation",
// one thing a line, and a part "plan": what each free agent takes, and why it
// takes nothing else.
func TestPlans(t *testing.T) {
	names, err := filepath.Glob("testdata/plans/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("plans: %v, %v", names, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			file, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(file.Files) != 2 || file.Files[0].Name != "situation" || file.Files[1].Name != "plan" {
				t.Fatal("the parts are not situation and plan")
			}
			p := plan{st: NewState(0), policy: DefaultPolicy()}
			for n, line := range strings.Split(string(file.Files[0].Data), "\n") {
				if err := p.read(strings.Fields(line)); err != nil {
					t.Fatalf("situation line %d: %v", n+1, err)
				}
			}
			got := p.answer()
			if *update {
				file.Files[1].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(file), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(file.Files[1].Data); got != want {
				t.Errorf("the plan is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// plan is a situation that is being read.
type plan struct {
	st     *State
	now    float64
	policy Policy
	agents []qgjob.AgentID
}

// read takes one line: a kind, a name, then pairs of a word and its value.
func (p *plan) read(words []string) error {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	if len(words)%2 != 0 {
		return fmt.Errorf("%q is not a name and pairs", words)
	}
	kind, name := words[0], words[1]
	number := func(s string) float64 {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(err)
		}
		return x
	}
	pairs := map[string]string{}
	for i := 2; i < len(words); i += 2 {
		pairs[words[i]] = words[i+1]
	}
	get := func(word string, def float64) float64 {
		if s, ok := pairs[word]; ok {
			return number(s)
		}
		return def
	}
	switch kind {
	case "now":
		p.now = number(name)
	case "started": // this many seconds ago
		p.st.SetLoad(Load{Since: p.now - number(name)})
	case "arrived": // seconds of work, just now
		p.st.Arrive(p.now, number(name), int(get("priority", 5)))
	case "policy":
		p.policy.Rule = Rule(name)
		p.policy.Thrift = get("thrift", p.policy.Thrift)
	case "upload": // ready in so many seconds
		p.st.SetUpload(p.build(name), p.now+get("ready", 0))
	case "org":
		p.st.SetOrg(Org{
			ID: qgjob.OrgID(name), Weight: get("weight", 1), Quota: int(get("quota", 0)), Running: int(get("running", 0)),
			Used: Usage{Seconds: get("used", 0), At: p.now},
		})
	case "group":
		p.st.SetGroup(Group{
			ID: qgjob.GroupID(number(name)), Build: p.build(pairs["app"]), Target: targetOf(pairs["target"]), Requires: pairsOf(pairs["needs"]), Install: get("install", 60),
			Queue: Queue{
				Waiting: int(get("jobs", 1)), Work: get("work", 60), Runs: int(get("runs", 1)), HeadPriority: int(get("priority", 5)),
				HeadSubmitted: p.now - get("waits", 0),
			},
		})
	case "agent":
		a := Agent{
			ID: qgjob.AgentID(name), Target: targetOf(pairs["target"]), Labels: pairsOf(pairs["labels"]), Speed: get("speed", 1), InstallFactor: get("factor", 1),
			Up: pairs["is"] != "offline", Draining: pairs["is"] == "draining", Holds: qgjob.GroupID(get("holds", 0)),
			Installed: p.build(pairs["has"]), Serving: qgjob.GroupID(get("serves", 0)), FreeAt: p.now + get("for", 0), Pinned: qgjob.AppVersionID(pairs["pinned"]),
		}
		a.SharedInstall = a.Target == qgjob.TargetBrowserStack
		if broke := pairs["broke"]; broke != "" {
			a.Blocked = []Build{p.build(broke)}
		}
		p.st.SetAgent(a)
		p.agents = append(p.agents, a.ID)
	default:
		return fmt.Errorf("%q is unknown", kind)
	}
	return nil
}

func targetOf(s string) qgjob.Target {
	if s == "" {
		return qgjob.TargetDevice
	}
	return qgjob.Target(s)
}

// build reads org/version.
func (p *plan) build(s string) Build {
	org, version, ok := strings.Cut(s, "/")
	if !ok {
		return Build{}
	}
	return Build{Org: qgjob.OrgID(org), Version: qgjob.AppVersionID(version)}
}

func pairsOf(s string) map[string]string {
	pairs := map[string]string{}
	for _, kv := range strings.Split(s, ",") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			pairs[k] = v
		}
	}
	return pairs
}

func (p *plan) answer() string {
	var b strings.Builder
	for _, id := range p.agents {
		a, _ := p.st.Agent(id)
		switch {
		case a.Serving != 0:
			continue
		case !a.Up:
			fmt.Fprintf(&b, "%s is offline\n", id)
			continue
		case a.Draining:
			fmt.Fprintf(&b, "%s takes no more\n", id)
			continue
		}
		c, why := Explain(p.st, id, p.now, p.policy)
		switch {
		case c.Group == 0:
			fmt.Fprintf(&b, "%s waits\n", id)
		case c.Install == 0:
			fmt.Fprintf(&b, "%s takes %v at once\n", id, c.Group)
		default:
			fmt.Fprintf(&b, "%s takes %v after %.0f s of install\n", id, c.Group, c.Install)
		}
		for _, r := range why {
			fmt.Fprintf(&b, "  not %v: %s\n", r.Group, r.Text(p.st, p.now))
		}
	}
	return b.String()
}

// TestPlansSayEveryReason: the plans are what a person reads to learn the
// rule, so every reason that a waiting group can get stands in one of them.
func TestPlansSayEveryReason(t *testing.T) {
	names, err := filepath.Glob("testdata/plans/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(text), "\n"); !strings.HasSuffix(first, ".") {
			t.Errorf("%s does not open with a sentence: %q", name, first)
		}
		all.Write(text)
	}
	for _, says := range []string{
		"is of target", "lacks", "is pinned to app version", "its quota is", "broke on agent", "another agent holds", "has to save more than",
		"would not end the group sooner", "first, which scores higher", "is offline", "takes no more", "waits\n", "at once", "s of install",
	} {
		if !strings.Contains(all.String(), says) {
			t.Errorf("no plan says %q", says)
		}
	}
}
