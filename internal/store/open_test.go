package store

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func wantError(t *testing.T, err error, kind qgjob.Kind, words ...string) {
	t.Helper()
	if qgjob.KindOf(err) != kind {
		t.Errorf("error is %s: %v; wanted %s", qgjob.KindOf(err), err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), dir, Options{})
	wantError(t, err, qgjob.KindConflict, dir, "in use", "--data-dir")
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpenInAnotherProcess$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), "QGJOB_TEST_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "REFUSED") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatalf("after the first one has gone: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenInAnotherProcess is the other process of TestASecondServerIsRefused.
func TestOpenInAnotherProcess(t *testing.T) {
	dir := os.Getenv("QGJOB_TEST_DIR")
	if dir == "" {
		t.Skip("is run by TestASecondServerIsRefused")
	}
	_, err := Open(context.Background(), dir, Options{})
	wantError(t, err, qgjob.KindConflict, dir, "in use")
	t.Log("REFUSED")
}

// spoiled makes a store with one run, closes it and lets do spoil its file.
func spoiled(t *testing.T, do func(db string)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	do(filepath.Join(dir, "qgjob.db"))
	return dir
}

func TestANewerSchemaIsRefused(t *testing.T) {
	dir := spoiled(t, migratedBy(t, 99, 99))
	for range 2 { // a refused open leaves no lock behind
		_, err := Open(context.Background(), dir, Options{})
		wantError(t, err, qgjob.KindConflict, dir, "99", "newer qgjob")
	}
}

// TestANewerSchemaThatOnlyAdds is a farm in the middle of an upgrade: a server
// of this version starts anew after one of the next has migrated.
func TestANewerSchemaThatOnlyAdds(t *testing.T) {
	dir := spoiled(t, migratedBy(t, 99, oldestBeside))
	for range 2 {
		s, err := Open(context.Background(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// migratedBy makes a database look like one that a program of a schema version
// has migrated, which says how old those beside it may be.
func migratedBy(t *testing.T, version, oldest int) func(path string) {
	return func(path string) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, 1)`, version); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`UPDATE counters SET value = $1 WHERE name = 'oldest_schema'`, oldest); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedDatabaseIsNamed(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"not a database": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 1000)), 0o600)
		},
		"zeros in the middle": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			clear(b[100:])
			return os.WriteFile(path, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := spoiled(t, func(path string) {
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
			})
			_, err := Open(context.Background(), dir, Options{})
			wantError(t, err, qgjob.KindInternal, "damaged", filepath.Join(dir, "qgjob.db"), "backup")
		})
	}
}

func TestAnOddPathIsNoProblem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20?c=#d&é")
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "qgjob.db")); err != nil {
		t.Error(err)
	}
}

func TestWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), filepath.Join(file, "data"), Options{})
	wantError(t, err, qgjob.KindUnavailable, file)
	if os.Getuid() == 0 {
		return // nothing is forbidden to root; see TestAReadOnlyDisk
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), dir, Options{})
	wantError(t, err, qgjob.KindUnavailable, dir)
}

func TestPing(t *testing.T) {
	s := openTest(t, Options{})
	if err := s.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Ping(context.Background()); err == nil {
		t.Error("a closed store says that it is well")
	}
}
