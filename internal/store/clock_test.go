package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// sqlClock are the ways in which SQL of either engine reads a clock.
var sqlClock = regexp.MustCompile(`(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|age|datetime|julianday|strftime|unixepoch|pg_sleep)\s*\(|\b(current_timestamp|current_time|current_date|localtime|localtimestamp)\b|'now'`)

// TestNoStatementReadsTheDatabasesClock: instants come from the servers, and
// expiry from their monotonic clocks. So the clock of the database may be
// wrong, or jump, and nothing is lost or ended by it.
func TestNoStatementReadsTheDatabasesClock(t *testing.T) {
	for _, wrong := range []string{"SELECT now()", "DEFAULT CURRENT_TIMESTAMP", "datetime('now')", "ready_at < Clock_Timestamp ()"} {
		if !sqlClock.MatchString(wrong) {
			t.Errorf("%q is not found", wrong)
		}
	}
	statements := 0
	look := func(at, text string) {
		if found := sqlClock.FindString(text); found != "" && regexp.MustCompile(`(?i)\b(select|update|insert|delete|create|alter|set)\b`).MatchString(text) {
			t.Errorf("%s reads a clock of the database: %s in %.200s", at, found, text)
		}
		statements++
	}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(name, ".sql"):
			text, err := os.ReadFile(name)
			look(name, string(text))
			return err
		case entry.IsDir() && strings.HasSuffix(name, "test"):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if text, ok := node.(*ast.BasicLit); ok && text.Kind == token.STRING {
				look(name, text.Value)
			}
			return true
		})
		return nil
	})
	if err != nil || statements < 200 {
		t.Errorf("%d texts were looked at: %v", statements, err)
	}
}
