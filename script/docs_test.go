package script_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// section is the code block under a heading of docs/ci.md.
func section(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/ci.md has no section %s", heading)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	m := regexp.MustCompile("(?s)```\\w+\n(.*?)```").FindStringSubmatch(after)
	if m == nil {
		t.Fatalf("section %s has no code", heading)
	}
	return m[1]
}

// shellOf is what each system's shell is given of its snippet, as the system reads it.
func shellOf(t *testing.T, system string) string {
	t.Helper()
	text := section(t, system)
	switch system {
	case "Jenkins":
		m := regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no sh step in %s", text)
		}
		return m[1]
	case "GitLab CI":
		var file struct {
			E2E struct{ Script []string } `yaml:"e2e"`
		}
		if err := yaml.Unmarshal([]byte(text), &file); err != nil {
			t.Fatal(err)
		}
		return strings.Join(file.E2E.Script, "\n")
	}
	var file struct{ Steps []struct{ Command string } }
	if err := yaml.Unmarshal([]byte(text), &file); err != nil || len(file.Steps) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	return file.Steps[0].Command
}

// snippet is a snippet of a CI system in a project of its own.
type snippet struct {
	t               *testing.T
	shell, env      []string // of the system; %d in env is the job's number
	script, project string
}

// run plays the snippet as the shell of one CI job does.
func (s *snippet) run(job, wantCode int) string {
	s.t.Helper()
	cmd := exec.Command(s.shell[0], append(s.shell[1:], s.script)...)
	cmd.Dir = s.project
	for _, kv := range s.env {
		cmd.Env = append(cmd.Env, strings.Replace(kv, "%d", fmt.Sprint(job), 1))
	}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		s.t.Fatalf("code %d, want %d\n%s", code, wantCode, out)
	}
	return string(out)
}

// add puts a file beside the tests.
func (s *snippet) add(name string) {
	s.t.Helper()
	path := filepath.Join(s.project, "tests", name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte("// a test\n"), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// wantReport looks into the JUnit file, which must be new.
func (s *snippet) wantReport(parts ...string) {
	s.t.Helper()
	name := filepath.Join(s.project, "results.xml")
	text, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range parts {
		if !strings.Contains(string(text), p) {
			s.t.Errorf("%q is not in\n%s", p, text)
		}
	}
	if err := os.Remove(name); err != nil {
		s.t.Fatal(err)
	}
}

// TestDocsSnippets runs the snippets of docs/ci.md as their systems' shells do: green when the tests pass, red when one fails, a JUnit file both
// times, and the same job twice is one run.
func TestDocsSnippets(t *testing.T) {
	dir := t.TempDir()
	url := serveSnippets(t, dir)
	bin := filepath.Join(dir, "bin")
	err := os.Mkdir(bin, 0o755)
	if err == nil {
		err = os.Symlink(testBinary(), filepath.Join(bin, "qgjob"))
	}
	if err != nil {
		t.Fatal(err)
	}
	common := []string{asProgram + "=1", "PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "QGJOB_SERVER=" + url, "CI=true"}
	for _, test := range []struct {
		system     string
		shell, env []string
	}{
		{"GitLab CI", []string{"bash", "-eo", "pipefail", "-c"}, []string{"GITLAB_CI=true", "CI_SERVER_URL=https://gitlab.example", "CI_PROJECT_ID=3", "CI_JOB_ID=%d", "CI_COMMIT_SHA=1234abcd"}},
		{"Jenkins", []string{"sh", "-xec"}, []string{"JENKINS_URL=https://ci.example/", "BUILD_TAG=jenkins-e2e-%d", "STAGE_NAME=e2e", "GIT_COMMIT=1234abcd"}}, //budget:allow Jenkins runs its steps by it
		{"Buildkite", []string{"bash", "-e", "-c"}, []string{"BUILDKITE=true", "BUILDKITE_JOB_ID=0192-%d", "BUILDKITE_COMMIT=1234abcd"}},
	} {
		t.Run(test.system, func(t *testing.T) {
			s := &snippet{t: t, shell: test.shell, env: append(slices.Clone(common), test.env...), script: shellOf(t, test.system), project: t.TempDir()}
			s.add("readme.txt")
			if out := s.run(0, 2); !strings.Contains(out, "tests/**/*.spec.js") {
				t.Errorf("nothing to test: %s", out)
			}
			s.add("pass-0-1.spec.js")
			first := s.run(1, 0)
			s.wantReport(`tests="1" failures="0"`, `<property name="agent" value="a1">`)
			if again := s.run(1, 0); !strings.Contains(again, "used before") || submitted(first) == "" || submitted(first) != submitted(again) {
				t.Errorf("the same job of CI has two runs:\n%s\n%s", first, again)
			}
			s.wantReport(`tests="1" failures="0"`)
			if other := s.run(2, 0); submitted(other) == submitted(first) {
				t.Error("another job of CI has the run of the first")
			}
			s.wantReport(`tests="1" failures="0"`)
			s.add("fail-0-1.spec.js")
			s.run(3, 1)
			s.wantReport(`tests="2" failures="1"`, "<failure ")
		})
	}
}

// serveSnippets starts a server and an agent that end with the test.
func serveSnippets(t *testing.T, dir string) (url string) {
	t.Helper()
	server, err := start(dir, "server", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	if url, err = server.await(listening); err != nil {
		t.Fatal(err)
	}
	agent, err := start(dir, "agent", "--server", url, "--name", "a1", "--target", "emulator", "--state-dir", filepath.Join(dir, "agent"),
		"--", testBinary(), testJob, filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.kill)
	if _, err := agent.await("registered"); err != nil {
		t.Fatal(err)
	}
	return url
}

// submitted is the job that a submit printed.
func submitted(out string) string {
	m := regexp.MustCompile(`Job submitted: (job_\d+)`).FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return m[1]
}

// TestActDocsSlow runs the GitHub workflow of docs/ci.md, word for word: green, then red.
func TestActDocsSlow(t *testing.T) {
	f := newCIFarm(t)
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	builds := strings.Fields(string(caches)) // act's steps have another home
	folder := f.actionFolder()
	for _, test := range []struct {
		name, spec string
		green      bool
	}{{"passing", "tests/pass-0-1.spec.js", true}, {"failing", "tests/fail-0-1.spec.js", false}} {
		t.Run(test.name, func(t *testing.T) {
			r := f.in(t).play(section(t, "GitHub Actions"), map[string]string{test.spec: "// a test\n"},
				"--var", "QGJOB_SERVER="+f.url, "--local-repository", "qualgent/qgjob@v1="+folder,
				"--env", "GOCACHE="+builds[0], "--env", "GOMODCACHE="+builds[1], "--env", "GOFLAGS=-trimpath").end()
			if got := r.cmd.ProcessState.ExitCode() == 0; got != test.green || (r.job == "success") != test.green {
				t.Errorf("green %v, job %q\n%s", got, r.job, r.text())
			}
			if test.green {
				r.wantSummary("## ✅ The test file passed")
			} else {
				r.wantSummary("## ❌ 1 of 1 test file failed")
			}
		})
	}
}
