// Package pgtest gives tests a real PostgreSQL: a throw-away cluster on a free
// loopback port, run by a user that is not root, one for each test program.
//
// A test program that uses it calls Stop before it leaves. On Linux the
// cluster also dies with the program, however that ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startWithin = 60 * time.Second
	stopWithin  = 30 * time.Second
	owner       = "qgjob"
	// Password is what URL carries; the cluster trusts everybody on loopback.
	Password = "not-a-secret"
)

// Cluster is a PostgreSQL server of its own.
type Cluster struct {
	bin, dir string
	port     int
	durable  bool
	disk     *Disk // of its data; nil: an ordinary folder
	process  *process
	names    atomic.Int64
	template sync.Once
	mu       sync.Mutex
	free     []string // copies that can be used again
}

var (
	mu      sync.Mutex
	running = map[bool]*Cluster{} // by durable
	failed  error
)

// Shared gives this test program's cluster, and starts it when it is the first
// to ask. It must be called outside a synctest bubble the first time. A
// machine without PostgreSQL skips the test, unless QGJOB_REQUIRE_POSTGRES is
// set: then it fails.
func Shared(t testing.TB) *Cluster { return shared(t, false) }

// Durable is Shared with a cluster that syncs to disk: for benchmarks.
func Durable(t testing.TB) *Cluster { return shared(t, true) }

func shared(t testing.TB, durable bool) *Cluster {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if c := running[durable]; c != nil {
		return c
	}
	if failed == nil {
		var c *Cluster
		if c, failed = Start(durable); failed == nil {
			running[durable] = c
			return c
		}
	}
	if os.Getenv("QGJOB_REQUIRE_POSTGRES") != "" || !errors.Is(failed, errMissing) {
		t.Fatalf("PostgreSQL: %v", failed)
	}
	t.Skipf("PostgreSQL: %v", failed)
	return nil
}

// Stop ends what Shared and Durable have started.
func Stop() {
	mu.Lock()
	defer mu.Unlock()
	for _, c := range running {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
		}
	}
	clear(running)
}

var errMissing = errors.New("no PostgreSQL found; install it (Debian: apt-get install postgresql) or set QGJOB_POSTGRES to its bin folder")

// findBin looks for the folder with initdb and postgres.
func findBin() (string, error) {
	if dir := os.Getenv("QGJOB_POSTGRES"); dir != "" {
		return dir, nil
	}
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(found)
	slices.Reverse(found)
	for _, dir := range append(dirs, found...) {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	return "", errMissing
}

// Start makes and starts a cluster. With durable it syncs to disk; else it
// lives in memory where the system has some.
func Start(durable bool) (_ *Cluster, err error) {
	c := &Cluster{durable: durable}
	if err := c.settle(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}()
	if err := c.initdb(); err != nil {
		return nil, err
	}
	return c, c.Up()
}

// settle finds PostgreSQL, and makes the folder that the cluster lives in.
func (c *Cluster) settle() (err error) {
	if c.bin, err = findBin(); err != nil {
		return err
	}
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil || c.durable {
		base = ""
	}
	if c.dir, err = os.MkdirTemp(base, "qgjob-pg-"); err != nil {
		return err
	}
	return ownDir(c.dir)
}

func (c *Cluster) initdb(more ...string) error {
	args := append([]string{"-D", c.data(), "-U", owner, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"}, more...)
	initdb := exec.Command(filepath.Join(c.bin, "initdb"), args...) //nolint:noctx // ends by itself
	initdb.Dir = c.dir
	asOther(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Up starts the server, for the first time or after Down or Kill: the port
// stays the same.
func (c *Cluster) Up() error {
	if c.port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback, and closed at once
		if err != nil {
			return err
		}
		c.port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return err
		}
	}
	args := []string{"-D", c.data(), "-p", strconv.Itoa(c.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal"}
	if !c.durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), args...) //nolint:noctx // lives until Stop
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	asOther(cmd)
	c.process, err = launch(cmd)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	return c.await()
}

// await waits until the server answers.
func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-c.process.gone:
			text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("postgres ended: %s", text)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("postgres does not answer: %w", err), c.Stop())
		}
	}
}

// Down stops the server in an orderly way; its data stay.
func (c *Cluster) Down() error { return c.end(os.Interrupt) }

// Kill stops the server as a crash does; its data stay.
func (c *Cluster) Kill() error { return c.end(immediate) }

func (c *Cluster) end(how os.Signal) error {
	select {
	case <-c.process.gone:
		return nil
	default:
	}
	if err := c.process.signal(how); err != nil {
		return err
	}
	over := time.NewTimer(stopWithin)
	defer over.Stop()
	select {
	case <-c.process.gone:
		return nil
	case <-over.C:
		return errors.Join(errors.New("postgres did not stop and was killed"), c.process.signal(os.Kill))
	}
}

// Stop ends the server and removes its data.
func (c *Cluster) Stop() error {
	err := c.end(immediate)
	if c.disk != nil {
		err = errors.Join(err, c.disk.unmount())
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Running reports whether the server's process is there.
func (c *Cluster) Running() bool {
	select {
	case <-c.process.gone:
		return false
	default:
		return true
	}
}

// URL names a database of the cluster, with user and password.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", owner, Password, c.port, database)
}

// Exec runs statements in a database, one after the other.
func (c *Cluster) Exec(database string, statements ...string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		return err
	}
	for _, st := range statements {
		if _, e := conn.Exec(ctx, st); e != nil {
			err = errors.Join(err, fmt.Errorf("%.80s: %w", st, e))
		}
	}
	return errors.Join(err, conn.Close(ctx))
}

// Copy makes a database for one test with what fill puts into the first:
// copying it is faster than filling each, and clearing it after a test, by
// these statements, faster still. Fill runs once; it must leave no connection
// open, and the first Copy must not be in a bubble.
func (c *Cluster) Copy(t testing.TB, fill func(url string) error, clearing ...string) (url string) {
	t.Helper()
	c.template.Do(func() {
		err := c.Exec("postgres", "CREATE DATABASE filled")
		if err == nil {
			err = fill(c.URL("filled"))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	c.mu.Lock()
	name := ""
	if n := len(c.free); n > 0 {
		name, c.free = c.free[n-1], c.free[:n-1]
	}
	c.mu.Unlock()
	if name == "" {
		name = fmt.Sprintf("test_%d", c.names.Add(1))
		if err := c.Exec("postgres", "CREATE DATABASE "+name+" TEMPLATE filled"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := c.Exec(name, clearing...); err != nil {
			t.Errorf("clear %s: %v", name, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.free = append(c.free, name)
	})
	return c.URL(name)
}

// Database makes an empty database for one test and gives its URL. It is
// dropped when the test ends.
func (c *Cluster) Database(t testing.TB) (url string) {
	t.Helper()
	name := fmt.Sprintf("test_%d", c.names.Add(1))
	if err := c.Exec("postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Exec("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil && !strings.Contains(err.Error(), "connect") {
			t.Errorf("drop %s: %v", name, err)
		}
	})
	return c.URL(name)
}
