package pgtest

import (
	"errors"
	"os"
	"testing"
)

// ErrMount says that a file system of its own could not be mounted.
var ErrMount = errors.New("a small disk can be mounted by root on Linux only")

// Small is StartSmall for a test, which stops the cluster when it ends. Where
// none can be mounted it skips the test, unless QGJOB_REQUIRE_POSTGRES is set:
// then it fails.
func Small(t testing.TB, alone bool) (*Cluster, *Disk) {
	t.Helper()
	Shared(t) // skips or fails where there is no PostgreSQL
	c, d, err := StartSmall(alone)
	if errors.Is(err, ErrMount) && os.Getenv("QGJOB_REQUIRE_POSTGRES") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c, d
}
