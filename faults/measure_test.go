//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// all says that everything is wanted, not only what fits into a few minutes.
func all() bool { return os.Getenv("QGJOB_FAULTS") == "all" }

// TestKilledAgentSlow measures how long a job stands still when its agent is
// killed for good: until its program begins on another agent. Times are
// reported, not asserted; that each job does go on is.
func TestKilledAgentSlow(t *testing.T) {
	slow(t)
	t.Parallel()
	for _, ttl := range []time.Duration{10 * time.Second, 30 * time.Second} {
		if ttl > 10*time.Second && !all() {
			continue
		}
		for name, onPostgres := range map[string]bool{"sqlite": false, "postgres": true} {
			t.Run(fmt.Sprint(name, " ", ttl), func(t *testing.T) {
				t.Parallel() // they mostly wait
				killAgents(t, name, onPostgres, ttl)
			})
		}
	}
}

func killAgents(t *testing.T, name string, onPostgres bool, ttl time.Duration) {
	const victims = 6
	s := seed(t)
	servers := 1
	if onPostgres {
		servers = 3
	}
	r := newReport(t, fmt.Sprintf("killed agents, %s, --lease-ttl %v", name, ttl))
	f := newFarm(t, shape{postgres: onPostgres, servers: servers, agents: 2 * victims, slots: 1, ttl: ttl}, r)
	req := qgjob.SubmitRequest{OrgID: "acme"}
	for n := range victims {
		req.Jobs = append(req.Jobs, qgjob.JobSpec{Target: "emulator", TestPath: fmt.Sprintf("tests/pass-300000-%d", n),
			AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", n))}) // a group each, so that each gets an agent of its own
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+2*ttl)
	defer cancel()
	if _, err := f.client(patient).Submit(ctx, req, "long jobs"); err != nil {
		t.Fatal(err)
	}
	begun := f.awaitBegun(ctx, victims)
	wait(ttl / 5) // they have been renewed since
	d := dice(s, 1)
	var kills []killed
	for _, e := range begun {
		wait(between(d, 0, ttl/10))
		for _, a := range f.agents {
			if a.name == e.agent {
				r.fault("agent killed (SIGKILL), for good")
				kills = append(kills, killed{a.name, time.Now()})
				a.kill(syscall.SIGKILL, time.Hour)
			}
		}
	}
	f.awaitBegun(ctx, 2*victims)
	for _, k := range kills {
		for _, took := range f.ran.elsewhere(k) {
			r.took(elsewhereIn, took)
		}
	}
	if n := len(r.times[elsewhereIn]); n != victims {
		t.Errorf("%d of %d jobs went on elsewhere", n, victims)
	}
}

// awaitBegun waits until so many programs have begun, and gives them.
func (f *farm) awaitBegun(ctx context.Context, n int) []*execution {
	f.t.Helper()
	for {
		if err := f.ran.read(); err != nil {
			f.t.Fatal(err)
		}
		var list []*execution
		for _, of := range f.ran.jobs {
			list = append(list, of...)
		}
		if len(list) >= n {
			return list
		}
		if ctx.Err() != nil {
			f.t.Fatalf("%d of %d programs have begun\n%s", len(list), n, f.health())
		}
		wait(50 * time.Millisecond)
	}
}

// TestKilledReplicaSlow_postgres measures how long clients stand still when
// the server they ask is killed: readers, submitters, and the agents.
func TestKilledReplicaSlow_postgres(t *testing.T) {
	slow(t)
	kills := 8
	if all() {
		kills = 40
	}
	const readers, submitters = 8, 4
	r := newReport(t, "killed replicas, three servers on PostgreSQL")
	f := newFarm(t, shape{postgres: true, servers: 3, agents: 4, slots: 2, ttl: 30 * time.Second}, r)
	ctx, stop := context.WithCancel(t.Context())
	var clients []*standing
	var asking sync.WaitGroup
	for i := range readers + submitters {
		c := &standing{client: f.clientOf(patient, f.servers...), what: "readers"}
		do := func(n int) error { _, err := c.client.Runs(ctx, "acme", "", 1); return err }
		if i >= readers {
			c.what = "submitters"
			do = func(n int) error {
				_, err := c.client.Submit(ctx, qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{{AppVersionID: "v1", Target: "emulator", TestPath: "tests/pass-20-1"}}}, fmt.Sprintf("%d-%d", i, n))
				return err
			}
		}
		clients = append(clients, c)
		asking.Go(func() { c.ask(ctx, t, do) })
	}
	for range kills {
		wait(1500 * time.Millisecond)
		victim := f.servers[0]
		for _, s := range f.servers {
			if clients[0].client.Base() == "http://"+s.front.addr() {
				victim = s
			}
		}
		var hit []*standing
		for _, c := range clients {
			if c.client.Base() == "http://"+victim.front.addr() {
				hit = append(hit, c)
			}
		}
		at := time.Now()
		victim.kill(syscall.SIGKILL, 500*time.Millisecond)
		r.fault("server killed (SIGKILL)")
		for _, c := range hit {
			r.took("clients stood still: "+c.what, c.since(t, at))
		}
		r.took("no job began anywhere", f.nextBegin(t, at).Sub(at))
		f.ready(victim)
	}
	stop()
	asking.Wait()
}

// standing is a client that asks all the time.
type standing struct {
	client *client.Client
	what   string
	last   atomic.Int64 // when it was last answered, what it began to ask after that; ns since 1970
}

func (c *standing) ask(ctx context.Context, t *testing.T, do func(int) error) {
	for n := 0; ctx.Err() == nil; n++ {
		if err := do(n); err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", c.what, err)
		}
		c.last.Store(time.Now().UnixNano())
		wait(10 * time.Millisecond)
	}
}

// since is how long after an instant the client was next answered.
func (c *standing) since(t *testing.T, at time.Time) time.Duration {
	for range 6000 {
		if last := time.Unix(0, c.last.Load()); last.After(at) {
			return last.Sub(at)
		}
		wait(5 * time.Millisecond)
	}
	t.Errorf("%s stood still for more than 30 s", c.what)
	return 30 * time.Second
}

// nextBegin is when a program next began after an instant.
func (f *farm) nextBegin(t *testing.T, at time.Time) time.Time {
	for range 6000 {
		if err := f.ran.read(); err != nil {
			t.Error(err)
		}
		for _, of := range f.ran.jobs {
			if last := of[len(of)-1]; last.begin.After(at) {
				return last.begin
			}
		}
		wait(5 * time.Millisecond)
	}
	t.Error("nothing ran for more than 30 s")
	return at
}
