//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// fault is a kind of harm. do returns when it is over; false when it could not
// be done now.
type fault struct {
	name string
	fits func(*farm) bool
	do   func(*farm, *rand.Rand) bool
}

func always(*farm) bool { return true }

// onPostgres leaves a farm with --ha alone: what a primary has of a commit that
// was never answered can be read there until it is lost to a failover
// (docs/high-availability.md), which the rounds would take for a lie.
func onPostgres(f *farm) bool { return f.pg != nil && !f.ha }

// kinds are all faults that a round may draw from.
func kinds() []fault {
	list := []fault{
		{"server killed (SIGKILL)", always, killServer(syscall.SIGKILL)},
		{"server told to stop (SIGTERM)", always, killServer(syscall.SIGTERM)},
		{"server frozen (SIGSTOP)", always, freezeServer},
		{"agent killed (SIGKILL)", always, killAgent},
		{"agent killed (SIGKILL)", always, killAgent}, // twice as likely
		{"agent told to leave (SIGTERM twice)", always, dismissAgent},
		{"agent frozen beyond the TTL (SIGSTOP)", always, freezeAgent},
		{"agent frozen beyond the TTL (SIGSTOP)", always, freezeAgent},
		{"PostgreSQL killed (postmaster, SIGKILL)", onPostgres, crashPostgres},
		{"PostgreSQL connections terminated", onPostgres, terminateBackends},
		{"PostgreSQL backend frozen (SIGSTOP)", onPostgres, freezeBackend},
		{"disk full", func(f *farm) bool { return f.small != nil }, fillDisk},
	}
	for m, name := range troubles {
		list = append(list,
			fault{"partition agent-server: " + name, always, partitionAgent(m)},
			fault{"partition server-clients: " + name, always, partitionServer(m)})
		list = append(list, fault{"partition server-PostgreSQL: " + name, onPostgres, partitionDatabase(m)})
	}
	return sortedByName(list)
}

func (f *farm) anyServer(r *rand.Rand) *server { return f.servers[r.IntN(len(f.servers))] }
func (f *farm) anyAgent(r *rand.Rand) *agent   { return f.agents[r.IntN(len(f.agents))] }

func killServer(how syscall.Signal) func(*farm, *rand.Rand) bool {
	return func(f *farm, r *rand.Rand) bool {
		f.anyServer(r).kill(how, between(r, 0, f.pace/2))
		return true
	}
}

func freezeServer(f *farm, r *rand.Rand) bool {
	resume := f.anyServer(r).stop()
	wait(between(r, f.pace/10, f.pace*18/10))
	resume()
	return true
}

// killed notes which agents died when, to see where their jobs went on.
type killed struct {
	agent string
	at    time.Time
}

func killAgent(f *farm, r *rand.Rand) bool {
	a := f.anyAgent(r)
	f.kills <- killed{a.name, time.Now()}
	a.kill(syscall.SIGKILL, between(r, 0, 2*f.pace))
	return true
}

func dismissAgent(f *farm, r *rand.Rand) bool {
	a := f.anyAgent(r)
	a.kill(syscall.SIGTERM, 0)
	wait(between(r, 10*time.Millisecond, 300*time.Millisecond))
	a.kill(syscall.SIGTERM, 0)
	return true
}

// freezeAgent makes a zombie: the farm gives its jobs to others, and then it
// comes back with its results.
func freezeAgent(f *farm, r *rand.Rand) bool {
	resume := f.anyAgent(r).stop()
	wait(between(r, f.pace*12/10, f.pace*19/10))
	resume()
	return true
}

func crashPostgres(f *farm, r *rand.Rand) bool {
	if !f.alone.TryLock() {
		return false
	}
	defer f.alone.Unlock()
	if err := f.pg.Crash(); err != nil {
		f.t.Errorf("kill the postmaster: %v", err)
	}
	wait(between(r, 0, f.pace/2))
	if err := f.pg.Recover(); err != nil {
		f.t.Errorf("start PostgreSQL again: %v", err)
	}
	return true
}

func (f *farm) query(do func(context.Context, *pgx.Conn) error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, f.pg.URL("postgres"))
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	return do(ctx, conn) == nil
}

func terminateBackends(f *farm, _ *rand.Rand) bool {
	return f.query(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'qgjob'`)
		return err
	})
}

func freezeBackend(f *farm, r *rand.Rand) bool {
	var pids []int32
	f.query(func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE application_name = 'qgjob'`)
		if err == nil {
			pids, err = pgx.CollectRows(rows, pgx.RowTo[int32])
		}
		return err
	})
	if len(pids) == 0 {
		return false
	}
	pid := int(pids[r.IntN(len(pids))])
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return false
	}
	wait(between(r, f.pace/10, f.pace*18/10))
	_ = syscall.Kill(pid, syscall.SIGCONT)
	return true
}

func fillDisk(f *farm, r *rand.Rand) bool {
	if !f.alone.TryLock() {
		return false
	}
	defer f.alone.Unlock()
	if err := f.small.fill(r.Int64N(100_000)); err != nil {
		f.t.Errorf("fill the disk: %v", err)
	}
	wait(between(r, f.pace/10, f.pace))
	if err := f.small.free(); err != nil {
		f.t.Errorf("free the disk: %v", err)
	}
	return true
}

// troubled holds a trouble on proxies for a while.
func troubled(f *farm, r *rand.Rand, m trouble, list ...*proxy) bool {
	for _, p := range list {
		p.set(m, r.IntN(3_000))
	}
	wait(between(r, f.pace/20, f.pace*18/10))
	for _, p := range list {
		p.set(pass, 0)
	}
	return true
}

func partitionAgent(m trouble) func(*farm, *rand.Rand) bool {
	return func(f *farm, r *rand.Rand) bool {
		a := f.anyAgent(r)
		if r.IntN(2) == 0 { // from everybody, or from one server
			return troubled(f, r, m, a.lines...)
		}
		return troubled(f, r, m, a.lines[r.IntN(len(a.lines))])
	}
}

func partitionServer(m trouble) func(*farm, *rand.Rand) bool {
	return func(f *farm, r *rand.Rand) bool {
		s := f.anyServer(r)
		return troubled(f, r, m, append([]*proxy{s.front}, s.agents...)...)
	}
}

func partitionDatabase(m trouble) func(*farm, *rand.Rand) bool {
	return func(f *farm, r *rand.Rand) bool { return troubled(f, r, m, f.anyServer(r).back) }
}

// harm does faults at random moments of a while, and returns when all of them
// are over.
func (f *farm) harm(seed uint64, faults int, within time.Duration, wanted func(fault) bool) {
	var fitting []fault
	for _, k := range kinds() {
		if k.fits(f) && wanted(k) {
			fitting = append(fitting, k)
		}
	}
	r := dice(seed, 1)
	done := make(chan struct{})
	for n := range faults {
		k, after, own := fitting[r.IntN(len(fitting))], between(r, 0, within), dice(seed, 2, uint64(n)) //nolint:gosec // a small count
		go func() {
			defer func() { done <- struct{}{} }()
			wait(after)
			if k.do(f, own) {
				f.report.fault(k.name)
			} else {
				f.report.fault("(found nothing to harm) " + k.name)
			}
		}()
	}
	for range faults {
		<-done
	}
}

// health is what a round leaves behind when it fails.
func (f *farm) health() string {
	text := ""
	for _, s := range f.servers {
		text += fmt.Sprintf("--- server %d, started %d times, ready %v\n%s\n", s.n, s.starts, answersReady(s.base), f.tail(s.log))
	}
	for _, a := range f.agents {
		text += fmt.Sprintf("--- agent %s, started %d times\n%s\n", a.name, a.starts, f.tail(a.log))
	}
	return text
}
