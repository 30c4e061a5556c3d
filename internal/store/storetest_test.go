package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestEveryListOfTheSuiteIsRun: a list of conformance tests that nobody names
// shows nothing, and everything is green.
func TestEveryListOfTheSuiteIsRun(t *testing.T) {
	run, err := os.ReadFile(filepath.Join("storetest", "storetest.go"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("storetest", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^var (\w+) = \[\]test\{`).FindAllSubmatch(text, -1) {
			lists++
			if !regexp.MustCompile(`\b` + string(m[1]) + `\b`).Match(run) {
				t.Errorf("%s: %s is run by nobody", file, m[1])
			}
		}
	}
	if lists < 10 {
		t.Errorf("%d lists found", lists)
	}
}
