package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

const sample = `# for everybody who works on the shop
server: http://127.0.0.1:1
org_id: from-file
target: browser
priority: high
retries: 2
timeout: 5m
tests:
  - tests/a.spec.js
  - tests/b.spec.js
requires:
  platform: android
labels: {team: shop}
`

func TestSettingsLayers(t *testing.T) {
	f := newFake(t)
	submit := func(env []string, args ...string) qgjob.SubmitRequest {
		p := newProgram(t, f.URL)
		p.write(".qgjob.yaml", sample)
		p.write("deep/er/x", "")
		p.dir = filepath.Join(p.dir, "deep", "er") // found from below
		p.env = append(p.env, env...)
		if code, _, err := p.run(append([]string{"submit", "--app-version-id=v"}, args...)...); code != 0 {
			t.Fatal(err)
		}
		return f.submits[len(f.submits)-1]
	}
	r := submit(nil)
	j := r.Jobs[0]
	if r.OrgID != "from-file" || len(r.Jobs) != 2 || j.Target != "browser" || j.Priority != 8 || j.Retries != 2 || j.TimeoutS != 300 ||
		j.Requires["platform"] != "android" || r.Labels["team"] != "shop" {
		t.Errorf("from the file: %+v", r)
	}
	r = submit([]string{"QGJOB_ORG=from-env", "QGJOB_TARGET=device"})
	if r.OrgID != "from-env" || r.Jobs[0].Target != "device" || r.Jobs[0].Priority != 8 {
		t.Errorf("environment over file: %+v", r)
	}
	r = submit([]string{"QGJOB_ORG=from-env"}, "--org-id=from-flag", "--test=c.js", "--priority=2")
	if r.OrgID != "from-flag" || len(r.Jobs) != 1 || r.Jobs[0].TestPath != "c.js" || r.Jobs[0].Priority != 2 {
		t.Errorf("flag over environment: %+v", r)
	}
	if r = submit(nil, "d.js"); len(r.Jobs) != 1 || r.Jobs[0].TestPath != "d.js" {
		t.Errorf("arguments over file: %+v", r)
	}
}

func TestSettingsOfOneCommandOnly(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	p := newProgram(t, f.URL)
	p.write(".qgjob.yaml", "target: device\n")
	if code, out, err := p.run("list"); code != 0 || !strings.Contains(out, "job_1") {
		t.Errorf("the target to submit for narrows a list: %d %q %q", code, out, err)
	}
}

// TestSeveralServers: wherever the servers are named, what one of them cannot
// answer is asked of another.
func TestSeveralServers(t *testing.T) {
	f := newFake(t)
	f.plain("tests/a.spec.js")
	const dead, deaf = "http://127.0.0.1:1", "http://127.0.0.1:2"
	for name, set := range map[string]func(*program) []string{
		"flag":        func(*program) []string { return []string{"--server=" + dead + "," + f.URL} },
		"flags":       func(*program) []string { return []string{"--server=" + dead, "--server", f.URL, "--server=" + deaf} },
		"environment": func(p *program) []string { p.env = append(p.env, "QGJOB_SERVER="+dead+","+f.URL); return nil },
		"file":        func(p *program) []string { p.write(".qgjob.yaml", "server: "+dead+","+f.URL+"\n"); return nil },
		"list in a file": func(p *program) []string {
			p.write(".qgjob.yaml", "server:\n  - "+dead+"\n  - "+f.URL+"\n")
			return nil
		},
		"flag over file": func(p *program) []string {
			p.write(".qgjob.yaml", "server: ["+dead+", "+deaf+"]\n")
			return []string{"--server=" + f.URL}
		},
	} {
		for range 4 { // where a client begins is random
			p := newProgram(t, "")
			p.env = append(p.env, "QGJOB_TOKEN=")
			args := append([]string{"list", "--retry-for=0s"}, set(p)...)
			if code, out, err := p.run(args...); code != 0 || !strings.Contains(out, "job_1") {
				t.Errorf("%s: %d %q %q", name, code, out, err)
			}
		}
	}
	p := newProgram(t, "")
	p.write(".qgjob.yaml", "server: ["+dead+", "+f.URL+"]\n")
	p.env = append(p.env, "QGJOB_TOKEN=secret-of-ci")
	if code, _, err := p.run("list"); code != 2 || !strings.Contains(err, dead+","+f.URL) || strings.Contains(err, "secret-of-ci") {
		t.Errorf("a token for the servers of a file: %d %q", code, err)
	}
	for _, bad := range []string{"--server=", "--server=http://a,", "--server=http://a,b"} {
		if code, _, err := newProgram(t, "").run("list", bad); code != 2 || !strings.Contains(err, "server") {
			t.Errorf("%s: %d %q", bad, code, err)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	p := newProgram(t, "http://127.0.0.1:1")
	p.env = append(p.env, "QGJOB_RETRY_FOR=long")
	if code, _, err := p.run("list"); code != 2 || !strings.Contains(err, "QGJOB_RETRY_FOR") {
		t.Errorf("%d %q", code, err)
	}
	p = newProgram(t, "not an address")
	if code, _, err := p.run("list"); code != 2 || !strings.Contains(err, "--server") {
		t.Errorf("%d %q", code, err)
	}
	p = newProgram(t, "http://127.0.0.1:1")
	p.env = append(p.env, "QGJOB_TOKEN=with blank")
	if code, _, err := p.run("list"); code != 2 || !strings.Contains(err, "QGJOB_TOKEN") || strings.Contains(err, "with blank") {
		t.Errorf("%d %q", code, err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "server: http://x\norg: o\n", ".qgjob.yaml:2: org: unknown key; allowed: bundle, "},
		{"case", "Server: http://x\n", ":1: Server: unknown key"},
		{"twice", "server: http://x\nserver: http://y\n", "server"},
		{"token", "token: abc\n", "QGJOB_TOKEN"},
		{"list for one", "org_id: [a, b]\n", ":1: org_id: must be one value"},
		{"no server", "server: []\n", ":1: server: must be one value"},
		{"server in a list", "server: [a, {b: c}]\n", ":1: server: must be a list of texts"},
		{"one for list", "tests: a.js\n", ":1: tests: must be a list"},
		{"one for map", "requires: a=b\n", ":1: requires: must be key: value lines"},
		{"null", "server:\n", "server: must be one value"},
		{"nested", "tests:\n  - [a]\n", ":2: tests: must be a list of texts"},
		{"comma", "labels:\n  a: b,c\n", ":2: labels: "},
		{"no map", "- a\n", "key: value lines"},
		{"no YAML", "a: [\n", ".qgjob.yaml: "},
		{"bad value", "\nretries: many\n", ":2: retries: "},
		{"bad duration", "timeout: 10\n", ":1: timeout: "},
		{"bundle elsewhere", "bundle: ../../home\n", ":1: bundle: must be a folder beneath"},
		{"absolute bundle", "bundle: /etc\n", ":1: bundle: must be a folder beneath"},
		{"too long", "# " + strings.Repeat("x", maxConfigFile), "allowed: 65536"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProgram(t, "http://127.0.0.1:1")
			p.write(".qgjob.yaml", test.text)
			code, out, err := p.run("submit", "--org-id=o", "--app-version-id=v", "--test=a.js")
			if code != 2 || out != "" || !strings.Contains(err, test.want) || strings.Contains(err, "abc") || strings.Count(err, "\n") != 1 {
				t.Errorf("%d %q %q, want %q", code, out, err, test.want)
			}
		})
	}
}

func TestConfigIsLookedForUpToTheGitRoot(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"repo/.git", "repo/a/b", "plain/a"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(top, name), []byte("server: http://"+filepath.Base(filepath.Dir(name))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := func(dir string) string {
		c, err := findConfig(filepath.Join(top, dir))
		if err != nil {
			t.Fatal(err)
		}
		if v := c.values["server"]; len(v) == 1 {
			return v[0].text
		}
		return ""
	}
	put(".qgjob.yaml")
	put("plain/.qgjob.yaml")
	if got := found("repo/a/b"); got != "" {
		t.Errorf("a file above the repository was taken: %q", got)
	}
	if got := found("plain/a"); got != "" {
		t.Errorf("outside of a repository a file above was taken: %q", got)
	}
	if got := found("plain"); got != "http://plain" {
		t.Errorf("own folder: %q", got)
	}
	put("repo/.qgjob.yaml")
	if got := found("repo/a/b"); got != "http://repo" {
		t.Errorf("git root: %q", got)
	}
	put("repo/a/.qgjob.yaml")
	if got := found("repo/a/b"); got != "http://a" {
		t.Errorf("the nearest: %q", got)
	}
}

func TestBrokenConfigDoesNotStopCompletionAndVersion(t *testing.T) {
	for _, args := range []string{"version", "completion bash"} {
		p := newProgram(t, "")
		p.write(".qgjob.yaml", "nonsense: 1\n")
		if code, _, err := p.run(strings.Fields(args)...); code != 0 {
			t.Errorf("%s: %d %q", args, code, err)
		}
	}
}

// FuzzConfig: no file makes the program fall over, and what is taken is known.
func FuzzConfig(f *testing.F) {
	f.Add(sample)
	f.Add("a: &x [*x]\n")
	f.Add("tests: !!binary x\n? {a: b}\n: c")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig("x/.qgjob.yaml", []byte(text))
		if err != nil {
			if qgjob.KindOf(err) != qgjob.KindInvalid || !strings.HasPrefix(err.Error(), "x/.qgjob.yaml:") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for key := range c.values {
			if _, ok := shapes[key]; !ok {
				t.Errorf("%q: took %q", text, key)
			}
		}
	})
}
