package cli

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// The tests of this file walk the README and the design's page on the command
// line against the real server and a real agent.

// TestExecVerdicts: what an exec program's end means, one row a way to end.
func TestExecVerdicts(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct {
		path   string
		code   int
		status qgjob.JobState
		tries  int
		says   string
	}{
		{"pass", 0, qgjob.Passed, 1, "passed: 1 passed of 1"},
		{"fail", 1, qgjob.Failed, 1, "left with code 1"},
		{"infra", 3, qgjob.Errored, 3, "code 75"},
		{"killed", 3, qgjob.Errored, 3, "SIGKILL"},
		{"junit-0-red", 1, qgjob.Failed, 1, "c › bad: wanted 1, got 2"},
		{"junit-0-green", 0, qgjob.Passed, 1, "passed: 1 passed of 1"},
		{"junit-1-green", 1, qgjob.Failed, 1, "left with code 1"},
		{"junit-0-cut", 3, qgjob.Errored, 3, "JUnit report"},
		{"junit-0-none", 3, qgjob.Errored, 3, "found no test"},
	} {
		t.Run(test.path, func(t *testing.T) {
			out, errs := l.run(test.code, append(tests(test.path), "--wait", "--json")...)
			var r result
			if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Jobs) != 1 {
				t.Fatalf("%v %s", err, out)
			}
			if j := r.Jobs[0]; j.Status != test.status || j.Attempts != test.tries || j.AgentID != "local" {
				t.Errorf("%+v", j)
			}
			out, _ = l.run(test.code, "wait", r.RunID.String())
			has(t, out+errs, test.says)
		})
	}
}

// TestExecWorld: what an exec program gets: nothing appended to its arguments,
// the project as its folder, the job in its environment, and none of the
// agent's secrets.
func TestExecWorld(t *testing.T) {
	t.Setenv("QGJOB_TOKEN", "must-not-reach-a-test")
	t.Setenv("SECRET_OF_THE_AGENT", "must-not-reach-a-test")
	l := newLab(t)
	l.run(0, append(tests("tests/world"), "--wait")...)
	out, _ := l.run(0, "logs", "job_1")
	real, err := filepath.EvalSymlinks(l.project)
	if err != nil {
		t.Fatal(err)
	}
	has(t, out, "argc=3 cwd="+real+"\n", "QGJOB_JOB_ID=job_1\n", "QGJOB_RUN_ID=run_1\n", "QGJOB_TEST_PATH=tests/world\n",
		"QGJOB_APP_VERSION_ID=v\n", "QGJOB_AGENT=local\n", "QGJOB_REPORT_DIR=/")
	if strings.Contains(out, "must-not-reach") {
		t.Errorf("a secret reached the test:\n%s", out)
	}
}

// TestJSONKeys: the fields that the design promises to machines.
func TestJSONKeys(t *testing.T) {
	l := newLab(t)
	keys := func(args ...string) map[string]any {
		out, _ := l.run(0, append(args, "--json")...)
		var one map[string]any
		var many []map[string]any
		if json.Unmarshal([]byte(out), &one) != nil {
			if err := json.Unmarshal([]byte(out), &many); err != nil || len(many) == 0 {
				t.Fatalf("%v: %v %s", args, err, out)
			}
			one = many[0]
		}
		return one
	}
	job := "job_id run_id org_id app_version_id test_path target priority status reason attempts flaky agent_id submitted_at started_at finished_at"
	for _, test := range []struct{ args, want string }{
		{"submit --org-id=o --app-version-id=v --test=pass", "run_id job_ids"},
		{"wait run_1", "run_id conclusion passed failed errored cancelled flaky installs installs_avoided jobs"},
		{"status job_1", job},
		{"list", job},
		{"status run_1", "run_id conclusion tally installs installs_avoided"},
		{"runs", "run_id conclusion tally"},
		{"report run_1", "run_id conclusion jobs"},
		{"agents", "agent_id target status installs installs_avoided"},
		{"agents drain local", "agent_id status"},
		{"agents undrain local", "agent_id status"},
		{"explain job_1", "job_id status summary"},
		{"org show --org-id=o", "org_id weight quota"},
		{"version", "version commit go platform"},
	} {
		got := keys(strings.Fields(test.args)...)
		for _, k := range strings.Fields(test.want) {
			if _, ok := got[k]; !ok {
				t.Errorf("%s: no %s in %v", test.args, k, slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

// TestCancelEndsTheWholeTree: also a child that left the job's process group.
func TestCancelEndsTheWholeTree(t *testing.T) {
	l := newLab(t)
	l.run(0, tests("ask-1")...)
	job := <-l.asks
	job.say("spawn child-1")
	child := <-l.asks
	if child.name != "child-1" {
		t.Fatalf("%q asks", child.name)
	}
	out, _ := l.run(0, "cancel", "job_1")
	has(t, out, "Job job_1 status: cancelling")
	out, _ = l.run(1, "wait", "job_1")
	has(t, out, "job_1 cancelled: 1 cancelled of 1")
	for _, a := range []*asking{job, child} {
		if err := a.gone(); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	_, errs := l.run(2, "cancel", "job_1")
	has(t, errs, "ended already: cancelled")
}

// TestInterruptCancelsForReal: Ctrl-C in submit --wait ends the job itself.
func TestInterruptCancelsForReal(t *testing.T) {
	l := newLab(t)
	p := newProgram(t, l.base)
	jobs := make(chan *asking, 1)
	go func() {
		job := <-l.asks
		p.signals <- os.Interrupt
		jobs <- job
	}()
	out, errs := l.in(p, 130, append(tests("ask-1"), "--wait")...)
	has(t, out, "run_1 cancelled: 1 cancelled of 1")
	has(t, errs, "cancelling run_1")
	_ = (<-jobs).gone()
	out, _ = l.run(0, "status", "run_1")
	has(t, out, "Run run_1 status: cancelled")
}

// TestWaitTimeoutResumes: the printed line is a command that goes on.
func TestWaitTimeoutResumes(t *testing.T) {
	l := newLab(t)
	out, errs := l.run(8, append(tests("ask-1"), "--wait", "--wait-timeout=50ms")...)
	if out != "Job submitted: job_1\n" {
		t.Errorf("%q", out)
	}
	_, resume, ok := strings.Cut(strings.TrimSpace(errs), "go on waiting with: qgjob ")
	if !ok || resume != "wait run_1" {
		t.Fatalf("no line that resumes: %q", errs)
	}
	(<-l.asks).say("exit 0")
	out, _ = l.run(0, strings.Fields(resume)...)
	has(t, out, "run_1 passed: 1 passed of 1")
}

// TestFlakyForReal: a test that passes on its second attempt.
func TestFlakyForReal(t *testing.T) {
	l := newLab(t)
	go func() {
		(<-l.asks).say("exit 1")
		(<-l.asks).say("exit 0")
	}()
	out, errs := l.run(0, append(tests("ask-1"), "--wait", "--retries=1")...)
	has(t, out, "flaky: passed on attempt 2", "run_1 passed: 1 passed (1 flaky) of 1")
	has(t, errs, "again      job_1")
	l.run(1, "wait", "run_1", "--fail-on-flaky")
}

// TestBrokenOnceIsNotFlaky: the second attempt after broken infrastructure is
// the test's first.
func TestBrokenOnceIsNotFlaky(t *testing.T) {
	l := newLab(t)
	go func() {
		(<-l.asks).say("exit 75")
		(<-l.asks).say("exit 0")
	}()
	out, errs := l.run(0, append(tests("ask-1"), "--wait", "--fail-on-flaky")...)
	has(t, out, "run_1 passed: 1 passed of 1")
	has(t, errs, "again      job_1")
}

// TestLiveLog: logs -f shows a line while the test still runs, and ends with
// it.
func TestLiveLog(t *testing.T) {
	l := newLab(t)
	l.run(0, tests("ask-1")...)
	job := <-l.asks
	p := newProgram(t, l.base)
	go func() {
		job.say("print first line")
		p.out.await(t, "first line")
		job.say("print second line")
		p.out.await(t, "second line")
		job.say("exit 0")
	}()
	l.in(p, 0, "logs", "-f", "job_1")
	_, errs := l.run(2, "logs", "job_2")
	has(t, errs, "job_2 does not exist")
	_, errs = l.run(2, "logs", "job_1", "--attempt=7")
	has(t, errs, "7")
}

func TestDrainAndUndrain(t *testing.T) {
	l := newLab(t)
	out, _ := l.run(0, "agents", "drain", "local")
	has(t, out, "Agent local status: draining\n")
	l.run(0, tests("pass")...)
	out, _ = l.run(0, "explain", "job_1")
	has(t, out, "draining", "undrain")
	out, _ = l.run(0, "groups")
	has(t, out, "GROUP", "group_1  v", "emulator")
	out, _ = l.run(0, "agents", "undrain", "local")
	has(t, out, "Agent local status: idle\n")
	l.run(0, "wait", "job_1")
	_, errs := l.run(0, "groups")
	has(t, errs, "qgjob: no jobs wait\n")
	_, errs = l.run(2, "agents", "drain", "nobody")
	has(t, errs, "agent nobody does not exist")
}

// TestRetryRunsOnlyWhatFailed, as a new run.
func TestRetryRunsOnlyWhatFailed(t *testing.T) {
	l := newLab(t)
	l.run(1, append(tests("pass", "fail", "pass-2"), "--wait")...)
	out, _ := l.run(1, "retry", "run_1", "--wait")
	has(t, out, "Job submitted: job_4\n", "run_2 failed: 1 failed of 1", "fail")
	out, _ = l.run(0, "retry", "job_1")
	has(t, out, "Job submitted: job_5\n")
	l.run(0, "wait", "run_3")
	_, errs := l.run(2, "retry", "run_3")
	has(t, errs, "nothing to repeat")
	out, _ = l.run(0, "list", "--status=failed")
	if n := strings.Count(out, "\n"); n != 3 {
		t.Errorf("%d lines of two failed jobs:\n%s", n, out)
	}
	out, _ = l.run(0, "runs", "--limit=2")
	has(t, out, "run_3  passed", "run_2  failed")
	if strings.Contains(out, "run_1 ") {
		t.Errorf("more than two runs:\n%s", out)
	}
}

// TestBundleTravelsOnce: the agent runs inside the bundle, and a second submit
// of the same files sends nothing.
func TestBundleTravelsOnce(t *testing.T) {
	l := newLab(t)
	p := newProgram(t, l.base)
	p.write("e2e/tests/world", "")
	p.write("e2e/tests/pass", "")
	p.write("e2e/.env", "SECRET=1\n")
	submit := []string{"submit", "--org-id=o", "--app-version-id=v", "--bundle=e2e", "--test=tests/*", "--wait"}
	out, errs := l.in(p, 0, submit...)
	has(t, out, "run_1 passed: 2 passed of 2")
	has(t, errs, "test bundle: ", " B sent\n", "1 .env file left out")
	out, _ = l.run(0, "logs", "job_2")
	if strings.Contains(out, "cwd="+l.project+"\n") || !strings.Contains(out, "bundles") {
		t.Errorf("the test did not run in its bundle:\n%s", out)
	}
	_, errs = l.in(p, 0, submit...)
	has(t, errs, "test bundle: the server has it already, nothing was sent")
	_, errs = l.in(p, 2, "submit", "--org-id=o", "--app-version-id=v", "--bundle=e2e", "--test=tests/none*")
	has(t, errs, `no file matches "tests/none*" in e2e`)
}

// TestAppTravelsOnce, and is installed once for all jobs of its version.
func TestAppTravelsOnce(t *testing.T) {
	l := newLab(t)
	p := newProgram(t, l.base)
	p.write("shop.apk", strings.Repeat("build", 1000))
	upload := []string{"app", "upload", "--org-id=o", "--app-version-id=v", "shop.apk"}
	out, errs := l.in(p, 0, upload...)
	has(t, out, "App uploaded: v of o (5.0 kB, sha256 ")
	has(t, errs, "5.0 kB sent")
	p = &program{t: t, dir: p.dir, env: p.env, signals: p.signals, out: newWatched(), err: newWatched()}
	_, errs = l.in(p, 0, upload...)
	has(t, errs, "nothing was sent")
	out, _ = l.run(0, "app", "list", "--org-id=o")
	has(t, out, "APP-VERSION", "v            shop.apk  5.0 kB")
	out, _ = l.run(0, append(tests("pass", "pass-2", "pass-3"), "--wait")...)
	has(t, out, "installs: 1 done", ", 2 avoided")
}

// TestIdempotencyKeyForReal: the same again gives the same jobs; something
// else under the same key is a mistake that names the flag.
func TestIdempotencyKeyForReal(t *testing.T) {
	l := newLab(t)
	for range 2 {
		out, _ := l.run(0, append(tests("pass"), "--idempotency-key=ci-1")...)
		has(t, out, "Job submitted: job_1\n")
	}
	_, errs := l.run(2, append(tests("fail"), "--idempotency-key=ci-1")...)
	has(t, errs, "--idempotency-key", "another body")
}

// TestHostileReport: what a test writes about itself neither drives a terminal
// nor the CI system whose log shows it.
func TestHostileReport(t *testing.T) {
	l := newLab(t)
	out, errs := l.run(1, append(tests("junit-1-evil"), "--wait")...)
	for line := range strings.SplitSeq(out+errs, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.ContainsAny(line, "\x1b\u009b\u009d") {
			t.Errorf("obeyed: %q", line)
		}
	}
	has(t, out, "test", "stop-commands")
}
