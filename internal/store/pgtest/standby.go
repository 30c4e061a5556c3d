package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// StandbyName is the application_name of every standby.
const StandbyName = "standby"

// Standby makes a cluster that follows this one, by streaming. The follower
// answers reads at once; whether commits wait for it is up to Synchronous.
func (c *Cluster) Standby() (*Cluster, error) { return c.follower(0) }

// Replace is Standby at the address of a cluster that has ended, as a former
// primary comes back when it was made anew.
func (c *Cluster) Replace(ended *Cluster) (*Cluster, error) {
	s, err := c.follower(ended.port)
	if err != nil {
		return nil, err
	}
	return s, ended.Stop()
}

// follower makes a standby; 0 is any free port.
func (c *Cluster) follower(port int) (_ *Cluster, err error) {
	s := &Cluster{bin: c.bin, durable: c.durable, port: port}
	if s.dir, err = os.MkdirTemp(filepath.Dir(c.dir), "qgjob-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	if err := ownDir(s.dir); err != nil {
		return nil, err
	}
	backup := exec.Command(filepath.Join(c.bin, "pg_basebackup"), "-D", s.data(), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync", //nolint:noctx // ends by itself
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=%s application_name=%s", c.port, owner, StandbyName))
	backup.Dir = s.dir
	asOther(backup)
	if out, err := backup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	if err := s.Recover(); err != nil {
		return nil, err
	}
	return s, c.Await(`SELECT COUNT(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'`)
}

// Synchronous sets synchronous_standby_names and waits until it holds: with
// names, until a standby is synchronous.
func (c *Cluster) Synchronous(names string) error {
	if err := c.Exec("postgres", fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = '%s'", strings.ReplaceAll(names, "'", "''")), "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	if names == "" {
		return c.Await(`SELECT current_setting('synchronous_standby_names') = ''`)
	}
	return c.Await(`SELECT COUNT(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')`)
}

// Promote makes a standby a primary, and returns when it is one.
func (c *Cluster) Promote() error {
	if err := c.Exec("postgres", "SELECT pg_promote(true, 60)"); err != nil {
		return err
	}
	return c.Await(`SELECT NOT pg_is_in_recovery()`)
}

// Stopped are processes that were halted; Go has them run again.
type Stopped []*os.Process

// Halt stops the processes of a server that have one of these backend types,
// without ending them: "walreceiver" on a standby takes nothing any more,
// "walsender" on a primary sends nothing.
func (c *Cluster) Halt(types ...string) (Stopped, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE backend_type = ANY($1)`, types)
	if err != nil {
		return nil, err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, err
	}
	var list Stopped
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Signal(halt)
		}
		if err != nil {
			return list, errors.Join(err, list.Go())
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no process of %v", types)
	}
	return list, nil
}

// Go lets halted processes run again. Those that have ended are passed over.
func (s Stopped) Go() error {
	var err error
	for _, p := range s {
		if e := p.Signal(resume); !errors.Is(e, os.ErrProcessDone) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Await waits until a query, asked again and again, gives true.
func (c *Cluster) Await(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			var yes bool
			err = conn.QueryRow(ctx, query).Scan(&yes)
			_ = conn.Close(ctx)
			if err == nil && yes {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("never true: %s", query), err)
		}
	}
}

// Hosts names a database that is on one of several servers: whichever is the
// primary.
func Hosts(database string, clusters ...*Cluster) string {
	hosts := make([]string, len(clusters))
	for i, c := range clusters {
		hosts[i] = "127.0.0.1:" + strconv.Itoa(c.port)
	}
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&target_session_attrs=read-write", owner, Password, strings.Join(hosts, ","), database)
}
