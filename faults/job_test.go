//go:build unix

package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// faultJob is the argument that makes this test binary a job of an exec agent.
// Its test path says what it does: tests/pass-MS-N passes after MS
// milliseconds, tests/fail-… fails, tests/broken-… leaves with 75,
// tests/flaky-… fails until it has failed once.
const faultJob = "__faultjob"

// logLines is what every job prints, in this order.
const logLines = 12

func logLine(path string, attempt string, n int) string {
	return fmt.Sprintf("%s attempt %s says line %d of %d %s\n", path, attempt, n, logLines, strings.Repeat("x", 40))
}

// wholeLog is the log of an attempt that came to its end.
func wholeLog(path string, attempt int) string {
	var b strings.Builder
	for n := range logLines {
		b.WriteString(logLine(path, strconv.Itoa(attempt), n))
	}
	return b.String()
}

// runFaultJob does what QGJOB_TEST_PATH says, and keeps the journal.
func runFaultJob(journal string) int {
	path, attempt := os.Getenv("QGJOB_TEST_PATH"), os.Getenv("QGJOB_ATTEMPT")
	words := strings.Split(strings.TrimPrefix(path, "tests/"), "-")
	ms, _ := strconv.Atoi(words[1])
	note(journal, "begin")
	for n := range logLines {
		if _, err := os.Stdout.WriteString(logLine(path, attempt, n)); err != nil {
			return 3
		}
		wait(time.Duration(ms) * time.Millisecond / logLines)
	}
	note(journal, "end")
	switch words[0] {
	case "fail":
		return 1
	case "broken":
		return 75
	case "flaky":
		f, err := os.OpenFile(filepath.Join(filepath.Dir(journal), "failed-"+os.Getenv("QGJOB_JOB_ID")), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = f.Close()
			return 1
		}
	}
	return 0
}

// note appends one line in one write, which O_APPEND makes atomic.
func note(journal, what string) {
	f, err := os.OpenFile(journal, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %d %s %s %s\n", what, time.Now().UnixMilli(), os.Getenv("QGJOB_JOB_ID"), os.Getenv("QGJOB_ATTEMPT"), os.Getenv("QGJOB_AGENT"))
}
