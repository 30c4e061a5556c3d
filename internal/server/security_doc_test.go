package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSecurityPage holds docs/security.md against the route table. With
// QGJOB_UPDATE set the page is written instead.
func TestSecurityPage(t *testing.T) {
	const page, begin, end = "../../docs/security.md", "<!-- routes: written by TestSecurityPage -->\n", "<!-- end of routes -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the routes")
	}
	var b strings.Builder
	b.WriteString("| route | scope | whose |\n|---|---|---|\n")
	for _, rt := range newRig(t, rigOptions{}).routes() {
		if rt.Method != "" {
			fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", rt.Method, rt.Pattern, rt.Scope, rt.Owner)
		}
	}
	want := before + begin + b.String() + end + after
	if string(text) == want {
		return
	}
	if os.Getenv("QGJOB_UPDATE") == "" {
		t.Fatal("docs/security.md does not tell what the route table says: QGJOB_UPDATE=1 go test ./internal/server -run TestSecurityPage")
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
