package pgtest

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

func TestAClusterComesAndGoes(t *testing.T) {
	Shared(t) // skips or fails where there is none
	c, err := Start(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("postgres", "CREATE TABLE kept (n INTEGER)", "INSERT INTO kept VALUES (1)"); err != nil {
		t.Error(err)
	}
	for name, end := range map[string]func() error{"down": c.Down, "kill": c.Kill, "crash": c.Crash} {
		if err := end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Exec("postgres", "SELECT 1"); err == nil {
			t.Errorf("%s: it answers still", name)
		}
		if err := c.Recover(); err != nil {
			t.Fatalf("up after %s: %v", name, err)
		}
		if err := c.Exec("postgres", "SELECT 1 / n FROM kept"); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", c.dir, err)
	}
}

func TestDatabasesAreApart(t *testing.T) {
	c := Shared(t)
	a, b := c.Database(t), c.Database(t)
	if a == b {
		t.Fatalf("one database for two tests: %s", a)
	}
	if err := c.Exec("test_1", "CREATE TABLE only_here (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("test_2", "SELECT * FROM only_here"); err == nil || !strings.Contains(err.Error(), "only_here") {
		t.Errorf("seen from the other one: %v", err)
	}
}
