//go:build linux

package script_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/client"
)

// The two devices of these tests.
const (
	deviceA = "emulator-5554"
	deviceB = "emulator-5556"
)

// journalVar tells the stub driver where to write; every process below an
// agent has it, and is known by it.
const journalVar = "QGJOB_STUB_JOURNAL"

// lab is a server, a fake adb server with two devices and the journal of the
// stub driver: everything between them is real.
type lab struct {
	t       *testing.T
	dir     string
	project string // a copy of examples/appwright
	builds  string
	journal string
	url     string
	adb     *adbtest.Server
	client  *client.Client
}

// needAppwright skips what make test-appwright runs.
func needAppwright(t *testing.T) {
	t.Helper()
	if os.Getenv("QGJOB_APPWRIGHT") == "" {
		t.Skip("drives a real AppWright: run make test-appwright")
	}
}

func newLab(t *testing.T) *lab {
	t.Helper()
	needAppwright(t)
	example, err := filepath.Abs("../examples/appwright")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := &lab{t: t, dir: dir, project: filepath.Join(dir, "project"), builds: filepath.Join(example, "build"), journal: filepath.Join(dir, "journal.jsonl")}
	if err := os.CopyFS(filepath.Join(l.project, "tests"), os.DirFS(filepath.Join(example, "tests"))); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(example, "appwright.config.ts"))
	if err != nil {
		t.Fatal(err)
	}
	l.write("project/appwright.config.ts", string(config))
	if err := os.Symlink(filepath.Join(example, "node_modules"), filepath.Join(l.project, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if l.adb, err = adbtest.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.adb.Close() })
	for _, serial := range []string{deviceA, deviceB} {
		l.adb.Plug(adbtest.Device{Serial: serial})
	}
	server, err := start(dir, "server", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	if l.url, err = server.await(listening); err != nil {
		t.Fatal(err)
	}
	if l.client, err = client.New(l.url, client.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ANDROID_ADB_SERVER_PORT", l.adb.Port())
	t.Setenv(journalVar, l.journal)
	return l
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// agent starts an agent process and waits until that many devices have
// registered.
func (l *lab) agent(name string, devices int, more ...string) *program {
	l.t.Helper()
	stub, err := filepath.Abs("appwright/stub-driver")
	if err != nil {
		l.t.Fatal(err)
	}
	args := append([]string{"agent", "--server", l.url, "--name", name, "--target", "emulator", "--project", l.project, "--appium-driver", stub,
		"--state-dir", filepath.Join(l.dir, name), "--pass-env", journalVar, "--quarantine-after", "-1"}, more...)
	p, err := start(l.dir, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(p.kill)
	l.t.Cleanup(func() {
		if !l.t.Failed() {
			return
		}
		out, _ := p.out.state()
		l.t.Logf("agent %s:\n%s", name, out)
		jobs, _, err := l.client.AllJobs(context.Background(), qgjob.JobFilter{}, 50)
		for _, j := range jobs {
			l.t.Logf("%s %s %s: %s(%s) %s", j.JobID, j.AppVersionID, j.TestPath, j.Status, j.Reason, j.Message)
		}
		if err != nil {
			l.t.Log(err)
		}
	})
	l.eventually("the devices of "+name+" register", func() bool {
		out, _ := p.out.state()
		return strings.Count(out, "registered") >= devices
	})
	return p
}

// eventually waits for something that the test cannot be told of.
func (l *lab) eventually(what string, holds func() bool) {
	l.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(4 * time.Minute)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			l.t.Fatalf("not in four minutes: %s", what)
		}
	}
}

// verdict is what submit --wait --json says.
type verdict struct {
	Conclusion qgjob.Conclusion `json:"conclusion"`
	Passed     int              `json:"passed"`
	Failed     int              `json:"failed"`
	Errored    int              `json:"errored"`
	Installs   int              `json:"installs"`
	Avoided    int              `json:"installs_avoided"`
	Jobs       []qgjob.Job      `json:"jobs"`
}

// submit runs tests of a version of the example to their end.
func (l *lab) submit(version string, more ...string) (verdict, error) {
	args := append([]string{"submit", "--server", l.url, "--org-id=acme", "--app-version-id=" + version, "--app", filepath.Join(l.builds, "notes-"+version+".apk"),
		"--target=emulator", "--wait", "--wait-timeout=8m", "--timeout=3m", "--json"}, more...)
	cmd := exec.Command(testBinary(), args...)
	cmd.Dir, cmd.Env = l.project, append(os.Environ(), asProgram+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var v verdict
	if jsonErr := json.Unmarshal(out, &v); jsonErr != nil {
		return v, fmt.Errorf("submit %s: %w: %w\n%s%s", version, err, jsonErr, out, stderr.String())
	}
	return v, nil
}

// queue submits one test file and does not wait.
func (l *lab) queue(version, test string, more ...string) qgjob.JobID {
	l.t.Helper()
	args := append([]string{"submit", "--server", l.url, "--org-id=acme", "--app-version-id=" + version, "--app", filepath.Join(l.builds, "notes-"+version+".apk"),
		"--target=emulator", "--timeout=3m", "--json", "--test", test}, more...)
	cmd := exec.Command(testBinary(), args...)
	cmd.Dir, cmd.Env = l.project, append(os.Environ(), asProgram+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var got qgjob.SubmitResponse
	if err != nil || json.Unmarshal(out, &got) != nil || len(got.JobIDs) != 1 {
		l.t.Fatalf("submit: %v\n%s%s", err, out, stderr.String())
	}
	return got.JobIDs[0]
}

func (l *lab) job(id qgjob.JobID) qgjob.Job {
	l.t.Helper()
	j, err := l.client.Job(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

func (l *lab) attempts(id qgjob.JobID) []qgjob.Attempt {
	l.t.Helper()
	a, err := l.client.Attempts(l.t.Context(), id)
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

func (l *lab) ended(id qgjob.JobID) qgjob.Job {
	l.t.Helper()
	l.eventually(id.String()+" ends", func() bool { return l.job(id).Status.Terminal() })
	return l.job(id)
}

// stubNote is a line of the stub driver's journal.
type stubNote struct {
	At                 int64  `json:"at"` // milliseconds since 1970
	Event              string `json:"event"`
	Session            string `json:"session"`
	UDID               string `json:"udid"`
	Version            string `json:"version"` // of the app on the device, as adb tells it
	App                string `json:"app"`
	NoReset            bool   `json:"noReset"`
	FullReset          bool   `json:"fullReset"`
	Package            string `json:"package"`
	Activity           string `json:"activity"`
	SystemPort         int    `json:"systemPort"`
	MJPEGPort          int    `json:"mjpegServerPort"`
	ChromePort         int    `json:"chromedriverPort"`
	ADBPort            int    `json:"adbPort"`
	SuppressKillServer bool   `json:"suppressKillServer"`
}

// notes reads the journal's entries of one event.
func (l *lab) notes(event string) []stubNote {
	l.t.Helper()
	text, err := os.ReadFile(l.journal)
	if err != nil && !os.IsNotExist(err) {
		l.t.Fatal(err)
	}
	var out []stubNote
	for line := range bytes.Lines(text) {
		var n stubNote
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &n) == nil && n.Event == event {
			out = append(out, n)
		}
	}
	return out
}

// below lists the processes of the agent's jobs and Appiums: all that have the
// journal in their environment and are no qgjob started by this test.
func (l *lab) below(not ...*program) []string {
	l.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		l.t.Fatal(err)
	}
	skip := map[int]bool{os.Getpid(): true}
	for _, p := range not {
		skip[p.Process.Pid] = true
	}
	var out []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || skip[pid] {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(env, []byte(journalVar+"="+l.journal)) {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // gone, or a zombie
		}
		out = append(out, e.Name()+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return out
}

// programs counts processes by what they are.
func programs(lines []string) (node, appium, adb int) {
	for _, line := range lines {
		switch {
		case strings.Contains(line, "/appium/index.js"):
			appium++
		case strings.Contains(line, "node"):
			node++
		case strings.Contains(line, "adb "):
			adb++
		}
	}
	return node, appium, adb
}
