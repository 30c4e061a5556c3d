//go:build linux

package script_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestAppwrightGroups: two versions, four specs each, two devices on one host.
// The journals of the stub driver and of the fake adb server are the judges.
func TestAppwrightGroups(t *testing.T) {
	l := newLab(t)
	l.agent("lab", 2)
	type result struct {
		version string
		verdict
		err error
	}
	results := make(chan result, 2)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		go func() {
			v, err := l.submit(version, "--test=tests/*.spec.ts")
			results <- result{version, v, err}
		}()
	}
	var failed qgjob.Job
	var jobs []qgjob.Job
	for range 2 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		want := map[string]int{"1.0.0": 1, "1.1.0": 0}[r.version]
		if r.Failed != want || r.Passed != 4-want || r.Errored != 0 || r.Installs < 1 || r.Installs > 2 || r.Installs+r.Avoided != 4 {
			t.Errorf("%s: %+v", r.version, r.verdict)
		}
		for _, j := range r.Jobs {
			if j.Status == qgjob.Failed {
				failed = j
			}
		}
		jobs = append(jobs, r.Jobs...)
	}
	l.judgeSessions(jobs)
	if n := l.adb.Count(deviceA, "install") + l.adb.Count(deviceB, "install"); n > 4 || n < 2 {
		t.Errorf("%d installs by the devices' journal; allowed: devices × versions = 4", n)
	}
	if failed.TestPath != "tests/search.spec.ts" || failed.AppVersionID != "1.0.0" || !strings.Contains(failed.Message, "finds notes") {
		t.Fatalf("failed: %+v", failed)
	}
	l.judgeEvidence(failed.JobID)
}

// judgeSessions: no session installed anything, each was on the device of its
// job's agent and on ports of that device alone, and it found the version that
// its job tests.
func (l *lab) judgeSessions(jobs []qgjob.Job) {
	t := l.t
	sessions, ends := l.notes("session"), l.notes("end")
	// welcome and notes hold two tests each.
	if len(sessions) != 12 || len(ends) != 12 {
		t.Errorf("%d sessions, %d ends; want 12", len(sessions), len(ends))
	}
	owner := map[int]string{}
	perDevice, perVersion := map[string]int{}, map[string]int{}
	for _, s := range sessions {
		perDevice[s.UDID]++
		perVersion[s.Version]++
		if s.App != "" || s.FullReset || s.NoReset || !s.SuppressKillServer || s.Package != "dev.qgjob.notes" || s.Activity != "android.app.Activity" {
			t.Errorf("session %+v", s)
		}
		for _, port := range []int{s.SystemPort, s.MJPEGPort, s.ChromePort} {
			if port == 0 || owner[port] != "" && owner[port] != s.UDID {
				t.Errorf("port %d of %s is %s's too", port, s.UDID, owner[port])
			}
			owner[port] = s.UDID
		}
	}
	if perDevice[deviceA] == 0 || perDevice[deviceB] == 0 {
		t.Errorf("sessions by device: %v; want both", perDevice)
	}
	if perVersion["1.0.0"] != 6 || perVersion["1.1.0"] != 6 {
		t.Errorf("sessions by the version found on the device: %v; want 6 each", perVersion)
	}
	for _, udid := range []string{deviceA, deviceB} {
		if l.overlap(udid) {
			t.Errorf("two sessions at once on %s", udid)
		}
	}
	for _, j := range jobs {
		attempts := l.attempts(j.JobID)
		if len(attempts) != 1 || len(attempts[0].Tests) == 0 {
			t.Errorf("%s %s: attempts %+v", j.JobID, j.TestPath, attempts)
			continue
		}
		a := attempts[0]
		serial := string(a.AgentID)[strings.Index(string(a.AgentID), "emulator"):]
		inTime := func(s stubNote) bool {
			return s.UDID == serial && s.At >= a.StartedAt.UnixMilli() && s.At <= a.EndedAt.UnixMilli()
		}
		for _, s := range sessions {
			if inTime(s) && s.Version != string(j.AppVersionID) {
				t.Errorf("%s tests %s and met %s on %s", j.JobID, j.AppVersionID, s.Version, serial)
			}
		}
		if !slices.ContainsFunc(sessions, inTime) {
			t.Errorf("%s %s ran without a session on %s", j.JobID, j.TestPath, serial)
		}
	}
	t.Logf("sessions %d by device %v, installs %d on %s and %d on %s", len(sessions), perDevice,
		l.adb.Count(deviceA, "install"), deviceA, l.adb.Count(deviceB, "install"), deviceB)
}

// overlap reports whether a device had two sessions at once.
func (l *lab) overlap(udid string) bool {
	type mark struct {
		at   int64
		open int
	}
	var marks []mark
	for _, s := range l.notes("session") {
		if s.UDID == udid {
			marks = append(marks, mark{s.At, 1})
		}
	}
	for _, s := range l.notes("end") {
		if s.UDID == udid {
			marks = append(marks, mark{s.At, -1})
		}
	}
	slices.SortFunc(marks, func(a, b mark) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.open - b.open
	})
	open := 0
	for _, m := range marks {
		if open += m.open; open > 1 {
			return true
		}
	}
	return false
}

// judgeEvidence: a failure leaves the screen as the test saw it, the device's
// screen and log, and Appium's log.
func (l *lab) judgeEvidence(id qgjob.JobID) {
	a := l.attempts(id)[0]
	var names []string
	for _, artifact := range a.Artifacts {
		names = append(names, filepath.Base(artifact.Name))
	}
	for _, want := range []string{"screen-at-failure-", "device-screen.png", "device-logcat.txt", "appium.log", "results.json"} {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, want) }) {
			l.t.Errorf("no %s among the artifacts %v", want, names)
		}
	}
	if len(a.Tests) != 1 || a.Tests[0].Status != qgjob.TestFailed || !slices.ContainsFunc(a.Tests[0].Attachment, func(n string) bool { return strings.Contains(n, "/screen-at-failure-") }) {
		l.t.Errorf("tests %+v", a.Tests)
	}
}

// waitSpec opens a session, says so, and goes on when the file go is there.
const waitSpec = `import { test, expect } from 'appwright';
import * as fs from 'node:fs';
import * as path from 'node:path';
test('waits', async ({ device }) => {
  await expect(device.getByText('Welcome')).toBeVisible();
  const go = path.join(path.dirname(process.env.QGJOB_STUB_JOURNAL!), 'go');
  while (!fs.existsSync(go)) await new Promise((resolve) => setTimeout(resolve, 50));
  await expect(device.getByText('Welcome')).toBeVisible();
});
`

// TestAppwrightCancelEndsTheTree: node, its workers, Appium and the adb that
// Appium holds open.
func TestAppwrightCancelEndsTheTree(t *testing.T) {
	l := newLab(t)
	l.write("project/tests/wait.spec.ts", waitSpec)
	agent := l.agent("lab", 2)
	id := l.queue("1.0.0", "tests/wait.spec.ts")
	l.eventually("the session", func() bool { return len(l.notes("session")) == 1 })
	node, appium, adb := programs(l.below(agent))
	if node < 2 || appium != 1 || adb < 1 {
		t.Errorf("before the cancel: %d node, %d Appium, %d adb: %q", node, appium, adb, l.below(agent))
	}
	if _, err := l.client.CancelJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if j := l.ended(id); j.Status != qgjob.Cancelled {
		t.Errorf("%+v", j)
	}
	l.eventually("the tree is gone", func() bool { return len(l.below(agent)) == 0 })
	// The device is usable at once: nothing of the cancelled job holds it.
	if v, err := l.submit("1.0.0", "--test=tests/settings.spec.ts"); err != nil || v.Passed != 1 {
		t.Errorf("after the cancel: %+v, %v", v, err)
	}
}

// TestAppwrightKillLeavesNothing: kill -9 of the agent leaves no Appium, node
// or adb behind.
func TestAppwrightKillLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.write("project/tests/wait.spec.ts", waitSpec)
	agent := l.agent("lab", 2)
	l.queue("1.0.0", "tests/wait.spec.ts")
	l.queue("1.1.0", "tests/wait.spec.ts")
	l.eventually("both sessions", func() bool { return len(l.notes("session")) == 2 })
	node, appium, adb := programs(l.below(agent))
	if node < 4 || appium != 2 || adb < 2 {
		t.Errorf("before the kill: %d node, %d Appium, %d adb: %q", node, appium, adb, l.below(agent))
	}
	agent.kill()
	l.eventually("everything is gone", func() bool { return len(l.below(agent)) == 0 })
	t.Logf("kill -9 took %d node, %d Appium and %d adb with it", node, appium, adb)
}

// TestAppwrightTwoRunsAtOnce: two agent processes with states of their own on
// one host, each with a session open while the other's is.
func TestAppwrightTwoRunsAtOnce(t *testing.T) {
	l := newLab(t)
	l.write("project/tests/wait.spec.ts", waitSpec)
	l.agent("one", 1, "--serial", deviceA)
	l.agent("two", 1, "--serial", deviceB)
	first, second := l.queue("1.0.0", "tests/wait.spec.ts"), l.queue("1.1.0", "tests/wait.spec.ts")
	l.eventually("both sessions at once", func() bool { return len(l.notes("session")) == 2 && len(l.notes("end")) == 0 })
	l.write("go", "")
	for _, id := range []qgjob.JobID{first, second} {
		if j := l.ended(id); j.Status != qgjob.Passed {
			t.Errorf("%+v", j)
		}
	}
	s := l.notes("session")
	if s[0].UDID == s[1].UDID || s[0].SystemPort == s[1].SystemPort || s[0].MJPEGPort == s[1].MJPEGPort || s[0].ChromePort == s[1].ChromePort {
		t.Errorf("sessions %+v", s)
	}
}

// TestAppwrightSessionErrorIsRetriedElsewhere: no session is no verdict, and
// the other device gets the job.
func TestAppwrightSessionErrorIsRetriedElsewhere(t *testing.T) {
	l := newLab(t)
	l.agent("lab", 2)
	l.write("refuse", "")
	v, err := l.submit("1.1.0", "--test=tests/settings.spec.ts")
	if err != nil || v.Passed != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	refused := l.notes("refused")
	if len(refused) == 0 || slices.ContainsFunc(refused, func(n stubNote) bool { return n.UDID != refused[0].UDID }) {
		t.Fatalf("refused sessions: %+v", refused)
	}
	a := l.attempts(v.Jobs[0].JobID)
	if len(a) != 2 || a[0].Outcome != qgjob.OutcomeErrored || a[0].Reason != qgjob.ReasonDevice || a[1].Outcome != qgjob.OutcomePassed || a[0].AgentID == a[1].AgentID {
		t.Errorf("attempts %+v", a)
	}
}

// TestAppwrightDeviceGoesOffline in the middle of a test: errored, and the job
// passes on the other device.
func TestAppwrightDeviceGoesOffline(t *testing.T) {
	l := newLab(t)
	l.write("project/tests/wait.spec.ts", waitSpec)
	l.agent("lab", 2)
	id := l.queue("1.0.0", "tests/wait.spec.ts")
	l.eventually("the session", func() bool { return len(l.notes("session")) == 1 })
	gone := l.notes("session")[0].UDID
	l.adb.SetState(gone, "offline")
	l.write("go", "")
	if j := l.ended(id); j.Status != qgjob.Passed {
		t.Errorf("%+v", j)
	}
	a := l.attempts(id)
	if len(a) < 2 || a[0].Outcome != qgjob.OutcomeErrored || a[len(a)-1].Outcome != qgjob.OutcomePassed || strings.HasSuffix(string(a[len(a)-1].AgentID), gone) {
		t.Errorf("attempts %+v", a)
	}
}

// TestAppwrightBadInput: each cause and its remedy in one line, errored, on the
// first attempt already.
func TestAppwrightBadInput(t *testing.T) {
	l := newLab(t)
	garbage := filepath.Join(l.dir, "garbage.apk")
	l.write("garbage.apk", "not an APK at all")
	other := t.TempDir() // a project with a Playwright that AppWright cannot use
	for name, text := range map[string]string{
		"node_modules/appwright/package.json": `{"version":"0.1.1"}`, "node_modules/@playwright/test/package.json": `{"version":"1.61.0"}`,
		"appwright.config.ts": "", "tests/settings.spec.ts": "",
	} {
		path := filepath.Join(other, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		agent []string
		job   []string
		path  string // of the agent's programs; empty: as it is
		want  []string
	}{
		{"nonode", nil, nil, "/nowhere", []string{"node cannot be run", "install Node.js 20 or newer"}},
		{"wrongplaywright", []string{"--project", other}, nil, "", []string{"Playwright 1.61.0 does not accept AppWright's fixtures", "overrides"}},
		{"nodriver", []string{"--appium-driver", other}, nil, "", []string{"no Appium driver in", "leave the flag away"}},
		{"wrongapk", nil, []string{"--app-version-id=bad", "--app", garbage}, "", []string{"APK"}},
		{"otherpackage", []string{"--app-package", "com.example.shop"}, nil, "", []string{"dev.qgjob.notes", "com.example.shop"}},
		{"noconfig", []string{"--playwright-config", "nothing.ts"}, nil, "", []string{"no configuration nothing.ts", "--playwright-config"}},
		{"noproject", []string{"--appwright-project", "ios"}, nil, "", []string{`no project "ios"`, `"android"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.path != "" {
				t.Setenv("PATH", c.path)
			}
			agent := l.agent(c.name, 1, append([]string{"--serial", deviceA, "--label", "case=" + c.name}, c.agent...)...)
			defer agent.kill()
			id := l.queue("1.1.0", "tests/settings.spec.ts", append([]string{"--requires", "case=" + c.name}, c.job...)...)
			l.eventually("the first attempt ends", func() bool {
				a := l.attempts(id)
				return len(a) > 0 && a[0].EndedAt != nil
			})
			a := l.attempts(id)[0]
			if a.Outcome != qgjob.OutcomeErrored || strings.Contains(strings.TrimSpace(a.Message), "\n") {
				t.Errorf("%s %s: %q", a.Outcome, a.Reason, a.Message)
			}
			for _, want := range c.want {
				if !strings.Contains(a.Message, want) {
					t.Errorf("no %q in %q", want, a.Message)
				}
			}
			t.Logf("%s(%s): %s", a.Outcome, a.Reason, a.Message)
			if _, err := l.client.CancelJob(t.Context(), id); err != nil && qgjob.KindOf(err) != qgjob.KindConflict {
				t.Error(err)
			}
			l.ended(id)
		})
	}
	if n := len(l.notes("session")); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
