package script_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// testJob is the argument that makes this test binary a job of an exec agent.
// Its test path says what it does: tests/pass-MS-N passes after MS
// milliseconds, tests/fail-… fails, tests/broken-… leaves with 75, tests/flaky-…
// passes the second time, tests/gate-… passes when the file args[1] is there,
// tests/spec-… reports a failure on line 12 of itself.
// It keeps a journal of what really ran.
const testJob = "__testjob"

// runTestJob does what QGJOB_TEST_PATH says; args[0] is the journal.
func runTestJob(args []string) int {
	path := os.Getenv("QGJOB_TEST_PATH")
	words := strings.Split(strings.TrimPrefix(path, "tests/"), "-")
	note(args[0], "begin", path)
	fmt.Println("running", path, "on", os.Getenv("QGJOB_AGENT"))
	if len(words) > 1 {
		n, _ := strconv.Atoi(words[1])
		time.Sleep(time.Duration(n) * time.Millisecond) //budget:allow a job that takes time is what is tested
	}
	for words[0] == "gate" {
		if _, err := os.Stat(args[1]); err == nil {
			fmt.Println("the gate is open")
			words[0] = "pass"
		}
		time.Sleep(20 * time.Millisecond) //budget:allow it waits for a file of the test's
	}
	note(args[0], "end", path)
	switch words[0] {
	case "pass":
		return 0
	case "fail":
		fmt.Println("expected 1, got 2")
		return 1
	case "broken":
		return 75
	case "flaky":
		if ran, err := os.ReadFile(args[0]); err != nil || strings.Count(string(ran), "begin "+os.Getenv("QGJOB_JOB_ID")+" ") < 2 {
			return 1
		}
		return 0
	case "spec":
		report := fmt.Sprintf(`<testsuite name="s"><testcase classname="cart" name="adds, then pays" file=%q line="12"><failure message="expected 1, got 2">at %s:12</failure></testcase></testsuite>`, path, path)
		if err := os.WriteFile(filepath.Join(os.Getenv("QGJOB_REPORT_DIR"), "junit.xml"), []byte(report), 0o600); err != nil {
			fmt.Println(err)
			return 75
		}
		return 1
	}
	return 2
}

// note appends one line in one write, which O_APPEND makes atomic.
func note(journal, what, path string) {
	f, err := os.OpenFile(journal, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s %s %s\n", what, os.Getenv("QGJOB_JOB_ID"), path, os.Getenv("QGJOB_AGENT"))
}
