package script_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// actionFile is action.yml as far as it is looked at.
type actionFile struct {
	Inputs  map[string]struct{ Description, Default string }
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID, Shell, Run string
			Env            map[string]string
		}
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// notInputs are the flags of submit that the action decides by itself.
var notInputs = []string{"help", "from-env", "github", "json"}

// TestActionHasEveryFlag: every flag of submit is an input of the action, under its own name, and every input does something.
func TestActionHasEveryFlag(t *testing.T) {
	var a actionFile
	readYAML(t, "../action.yml", &a)
	cmd := exec.Command(testBinary(), "submit", "--help")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	help, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		flags[m[1]] = true
	}
	if !flags["app-version-id"] || !flags["server"] {
		t.Fatalf("the help was not understood: %v", flags)
	}
	own := []string{"version", "sha256", "download-url", "working-directory", "token"}
	last := a.Runs.Steps[len(a.Runs.Steps)-1]
	for flag := range flags {
		if slices.Contains(notInputs, flag) {
			continue
		}
		if _, ok := a.Inputs[flag]; !ok {
			t.Errorf("--%s is no input of action.yml: add it there, with its variable in the last step", flag)
		}
		variable := "QGJOB_INPUT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		if want := "${{ inputs." + flag + " }}"; last.Env[variable] != want {
			t.Errorf("%s is %q, want %q", variable, last.Env[variable], want)
		}
	}
	for name, input := range a.Inputs {
		if !flags[name] && !slices.Contains(own, name) {
			t.Errorf("the input %s is no flag of submit", name)
		}
		if input.Description == "" {
			t.Errorf("the input %s is not described", name)
		}
	}
	for _, name := range []string{"run-id", "conclusion", "passed", "failed", "flaky", "errored", "cancelled", "junit"} {
		if want := "${{ steps.submit.outputs." + name + " }}"; a.Outputs[name].Value != want {
			t.Errorf("the output %s is %q, want %q", name, a.Outputs[name].Value, want)
		}
	}
}

// TestNoExpressionInAShell: what a pull request can name (a branch, a title, an input) never becomes part of a script.
func TestNoExpressionInAShell(t *testing.T) {
	var a actionFile
	readYAML(t, "../action.yml", &a)
	if a.Runs.Using != "composite" {
		t.Errorf("using %q", a.Runs.Using)
	}
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") || !strings.HasPrefix(s.Run, "exec ") || s.Shell != "bash" {
			t.Errorf("step %s runs %q by %q", s.ID, s.Run, s.Shell)
		}
	}
	for name, w := range workflows(t) {
		for id, job := range w.Jobs {
			for _, s := range job.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s, job %s: an expression in %q", name, id, s.Run)
				}
			}
		}
	}
}

type workflowFile struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Steps       []struct{ Uses, Run string }
	}
}

func workflows(t *testing.T) map[string]workflowFile {
	t.Helper()
	names, _ := filepath.Glob("../.github/workflows/*.yml")
	if len(names) < 3 {
		t.Fatalf("workflows: %q", names)
	}
	all := map[string]workflowFile{}
	for _, name := range names {
		var w workflowFile
		readYAML(t, name, &w)
		all[filepath.Base(name)] = w
	}
	return all
}

// TestWorkflowsArePinnedAndPoor: actions of others are named by a commit, with the version beside it; a workflow may read and no more, unless a job
// says what it writes; no job runs for six hours.
func TestWorkflowsArePinnedAndPoor(t *testing.T) {
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	for name, w := range workflows(t) {
		if w.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v", name, w.Permissions)
		}
		for scope, right := range w.Permissions {
			if right != "read" && right != "none" && (scope != "id-token" || name != "appwright-test.yml") {
				t.Errorf("%s may write %s everywhere", name, scope)
			}
		}
		for id, job := range w.Jobs {
			if job.Timeout == 0 {
				t.Errorf("%s, job %s: no timeout-minutes", name, id)
			}
			for _, s := range job.Steps {
				if s.Uses != "" && !strings.HasPrefix(s.Uses, "./") && !pinned.MatchString(s.Uses) {
					t.Errorf("%s, job %s uses %s", name, id, s.Uses)
				}
			}
		}
		text, err := os.ReadFile(filepath.Join("../.github/workflows", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "@") && strings.Contains(line, "uses:") && !regexp.MustCompile(`# v\d+\.\d+\.\d+\s*$`).MatchString(line) {
				t.Errorf("%s: no version beside %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// TestActionInstall: which program the action runs, and that it runs none whose checksum is wrong.
func TestActionInstall(t *testing.T) {
	const good = "#!/bin/sh\necho I am qgjob\n"
	asset := fmt.Sprintf("qgjob_1.2.3_%s_%s", runtime.GOOS, runtime.GOARCH)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(good)))
	releases := map[string]string{
		"/v1.2.3/" + asset: good, "/v1.2.3/checksums.txt": sum + "  " + asset + "\n" + strings.Repeat("0", 64) + "  other\n",
		"/v1.2.4/" + strings.Replace(asset, "1.2.3", "1.2.4", 1): "tampered with", "/v1.2.4/checksums.txt": sum + "  " + strings.Replace(asset, "1.2.3", "1.2.4", 1) + "\n",
		"/v1.2.5/" + strings.Replace(asset, "1.2.3", "1.2.5", 1): good, "/v1.2.5/checksums.txt": sum + "  something-else\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := releases[r.URL.Path]; ok {
			fmt.Fprint(w, text)
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	local := filepath.Join(t.TempDir(), "my qgjob")
	if err := os.WriteFile(local, []byte(good), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		env  []string
		want string // the program's name; "" is a failure
		says string
	}{
		{"a release", []string{"VERSION=v1.2.3"}, asset, ""},
		{"the action's own tag", []string{"ACTION_REF=v1.2.3"}, asset, ""},
		{"a release by its hash", []string{"VERSION=v1.2.3", "SHA256=" + sum}, asset, ""},
		{"another hash", []string{"VERSION=v1.2.3", "SHA256=" + strings.Repeat("1", 64)}, "", "has the SHA-256 " + sum},
		{"tampered with", []string{"VERSION=v1.2.4"}, "", "thrown away"},
		{"not in the checksums", []string{"VERSION=v1.2.5"}, "", "does not name"},
		{"no such release", []string{"VERSION=v9.9.9"}, "", "cannot download"},
		{"a path", []string{"VERSION=" + local}, "my qgjob", ""},
		{"no program", []string{"VERSION=./none"}, "", "is not a program"},
		{"two lines", []string{"VERSION=" + local + "\nprogram=/bin/sh"}, "", "line end"},
		{"words", []string{"VERSION=latest; touch pwned"}, "", "neither"},
		{"an unknown machine", []string{"VERSION=v1.2.3", "RUNNER_OS=Plan9"}, "", "no release for Plan9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("bash", "action/install")
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GITHUB_OUTPUT=" + filepath.Join(dir, "out"), "RUNNER_TEMP=" + dir, "DOWNLOAD_URL=" + server.URL}, test.env...)
			said, err := cmd.CombinedOutput()
			out, _ := os.ReadFile(filepath.Join(dir, "out"))
			if test.want == "" {
				left, _ := filepath.Glob(filepath.Join(dir, "qgjob-action", "qgjob_*"))
				if err == nil || len(out) > 0 || !strings.Contains(string(said), test.says) || strings.Contains(test.says, "SHA") && len(left) > 0 {
					t.Errorf("%v %q, outputs %q, left %q", err, said, out, left)
				}
				return
			}
			program, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "program=")
			if err != nil || !ok || filepath.Base(program) != test.want {
				t.Fatalf("%v %q, outputs %q", err, said, out)
			}
			if answer, err := exec.Command(program).Output(); err != nil || string(answer) != "I am qgjob\n" {
				t.Errorf("%v %q", err, answer)
			}
		})
	}
}

// TestActionBuildsItselfSlow: version source builds the program of the action's own commit.
func TestActionBuildsItselfSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("builds the program: set QGJOB_SLOW=1")
	}
	dir := t.TempDir()
	cmd := exec.Command("bash", "action/install")
	cmd.Env = append(os.Environ(), "VERSION=source", "ACTION_REF=main", "GITHUB_OUTPUT="+filepath.Join(dir, "out"), "RUNNER_TEMP="+dir)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	program, _ := strings.CutPrefix(strings.TrimSpace(string(out)), "program=")
	if help, err := exec.Command(program, "submit", "--help").Output(); err != nil || !strings.Contains(string(help), "--from-env") {
		t.Errorf("%v %s", err, help)
	}
}
