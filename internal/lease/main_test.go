package lease_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain asks for more random histories than rapid does by itself; the
// command line (-rapid.checks) overrides it.
func TestMain(m *testing.M) {
	checks := "500"
	if os.Getenv("QGJOB_SLOW") != "" {
		checks = "20000"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
