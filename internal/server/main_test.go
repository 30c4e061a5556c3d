package server

import (
	"os"
	"testing"

	"github.com/qualgent/qgjob/internal/store/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// postgresURL is an empty PostgreSQL database of this test.
func postgresURL(t *testing.T) string {
	t.Helper()
	return pgtest.Shared(t).Database(t)
}
