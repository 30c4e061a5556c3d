package report

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

// update rewrites the golden files: go test ./internal/report -run TestGolden -args -update. Look at the difference before keeping it.
var update = flag.Bool("update", false, "rewrite testdata/run.*")

// TestGolden holds the sample run in every format against what a person looked at and found right.
func TestGolden(t *testing.T) {
	run, jobs := sampleRun()
	for name, got := range map[string]string{
		"testdata/run.junit.xml": string(written(t, run, jobs)),
		"testdata/run.md":        summary(t, run, jobs),
		"testdata/run.page.txt":  pageWords(html(t, run, jobs)),
	} {
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, []byte(got)) {
			t.Errorf("%s differs from what was written:\n%s", name, firstDifference(string(want), got))
		}
	}
}

var (
	styles = regexp.MustCompile(`(?s)<style>.*?</style>`)
	tags   = regexp.MustCompile(`<[^>]*>`)
	blanks = regexp.MustCompile(`[ \t]*\n\s*`)
)

// pageWords is a page without its tags: what a reader without eyes for colours gets.
func pageWords(page string) string {
	return strings.TrimSpace(blanks.ReplaceAllString(tags.ReplaceAllString(styles.ReplaceAllString(page, ""), " "), "\n")) + "\n"
}

// firstDifference shows the first line that differs.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "want: " + w[i] + "\ngot:  " + g[i]
		}
	}
	return "one is longer than the other"
}
