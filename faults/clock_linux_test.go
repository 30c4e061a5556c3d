package faults_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// TestClockJumpsSlow_postgres plays rounds in which the database's clock jumps
// by hours and days, forth and back, besides two other faults. libfaketime moves
// PostgreSQL's clock; it does not move Go programs, whose leases expire on a
// clock that cannot be set anyway.
func TestClockJumpsSlow_postgres(t *testing.T) {
	slow(t)
	lib := os.Getenv("QGJOB_FAKETIME")
	if lib == "" {
		t.Skip("the clock of the database is not moved: set QGJOB_FAKETIME to what script/setup/faketime prints")
	}
	pgtest.Shared(t)
	offset := filepath.Join(t.TempDir(), "offset")
	set := func(to string) {
		if err := os.WriteFile(offset, []byte(to+"\n"), 0o644); err != nil { //nolint:gosec // PostgreSQL runs as another user
			t.Error(err)
		}
	}
	open(t, filepath.Dir(offset))
	set("+0")
	for name, value := range map[string]string{"LD_PRELOAD": lib, "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"} {
		t.Setenv(name, value)
	}
	c, err := pgtest.Start(true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }()
	for _, name := range []string{"LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC"} {
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	s := onThreeOfOne
	s.cluster = c
	r := newReport(t, "PostgreSQL whose clock jumps, three servers")
	f := newFarm(t, s, r)
	f.besides = func(_ *farm, d *rand.Rand) bool {
		for _, to := range []string{"+1h", "-1h", "+400d", "-30d", "+0"} {
			set(to)
			wait(between(d, 50*time.Millisecond, 800*time.Millisecond))
			if away, wrong := f.clockIsWrong(to != "+0"); wrong {
				t.Errorf("the clock was set to %s and is %v away", to, away)
			}
			r.fault("clock of PostgreSQL set to " + strings.Replace(to, "+0", "the truth", 1))
		}
		return true
	}
	seed := seed(t)
	rounds := 1
	if all() {
		rounds = 10
	}
	for n := range rounds {
		f.round(t, seed, n, 100+cliJobs)
	}
}

// clockIsWrong asks PostgreSQL for the time: whether its clock is moved when it
// should not be, or not when it should. Now and then libfaketime leaves a new
// process alone, so several are asked. Whoever does not answer is not wrong.
func (f *farm) clockIsWrong(moved bool) (away time.Duration, wrong bool) {
	for range 10 {
		wrong = false
		f.query(func(ctx context.Context, conn *pgx.Conn) error {
			var at time.Time
			err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at)
			away = time.Until(at).Abs()
			wrong = err == nil && (away > 30*time.Minute) != moved
			return err
		})
		if !wrong {
			break
		}
		wait(20 * time.Millisecond)
	}
	return away, wrong
}

// open lets PostgreSQL's user see a folder of the tests.
func open(t *testing.T, dir string) {
	t.Helper()
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil { //nolint:gosec // of a test
			t.Fatal(err)
		}
	}
}
