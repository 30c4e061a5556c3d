package cli

import (
	"strings"
	"testing"
)

func TestCopyOptions(t *testing.T) {
	const url = "postgres://qgjob@db/qgjob"
	for _, test := range []struct{ from, to, dir, refused string }{
		{"sqlite:./data", url, "./data", ""},
		{"./data", url, "./data", ""},
		{"sqlite:/srv/data/qgjob.db", url, "/srv/data", ""},
		{"sqlite:", url, "", "--from"},
		{"", url, "", "--from"},
		{url, "sqlite:./data", "", "SQLite to PostgreSQL only"},
		{url, url, "", "SQLite to PostgreSQL only"},
		{"sqlite:./data", "", "", "--to"},
		{"sqlite:./data", "sqlite:./other", "", "--to"},
		{"sqlite:./data", "mysql://db", "", "--to"},
	} {
		dir, err := copyOptions{test.from, test.to}.folder()
		if dir != test.dir || (err == nil) != (test.refused == "") || (err != nil && !strings.Contains(err.Error(), test.refused)) {
			t.Errorf("from %q to %q: %q, %v", test.from, test.to, dir, err)
		}
	}
}
