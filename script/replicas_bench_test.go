package script_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

const replicaSlice = 3 * time.Second

// BenchmarkReplicas measures how many jobs a second agents get through one
// server process and through three, on one PostgreSQL that syncs to disk. A
// job is what an agent asks for: start, and complete with the next claim in it.
//
// Each server has a share of a core, by a control group of Linux: 40 % is what
// lets three servers, PostgreSQL and the agents fit two cores, as if each had a
// machine of its own. Without a share (100 %) all of them compete for the
// cores, and three servers for what one has left.
//
// Each round measures both, one right after the other and the other first in
// the next round; the medians, and the median and the least of the rounds'
// ratios are reported. Ask for -benchtime 7x.
func BenchmarkReplicas(b *testing.B) {
	b.Setenv("GOMAXPROCS", "1")
	for _, share := range []int{20, 40, 100} {
		for _, agents := range []int{64, 256} {
			b.Run(fmt.Sprintf("core=%d%%/agents=%d", share, agents), func(b *testing.B) { compareReplicas(b, share, agents) })
		}
	}
}

func compareReplicas(b *testing.B, share, agents int) {
	one, three := startFarm(b, 1, share, agents), startFarm(b, 3, share, agents)
	for range 2 { // statements are prepared, tables have some size
		one.measure(b)
		three.measure(b)
	}
	var single, triple, ratios []float64
	for round := range b.N {
		var x, y float64
		if round%2 == 0 {
			x, y = one.measure(b), three.measure(b)
		} else {
			y, x = three.measure(b), one.measure(b)
		}
		single, triple, ratios = append(single, x), append(triple, y), append(ratios, y/x)
	}
	b.Logf("one: %.0f; three: %.0f; ratios: %.2f", single, triple, ratios)
	for _, list := range [][]float64{single, triple, ratios} {
		slices.Sort(list)
	}
	middle := b.N / 2
	b.ReportMetric(single[middle], "one-jobs/s")
	b.ReportMetric(triple[middle], "three-jobs/s")
	b.ReportMetric(ratios[middle], "x-one")
	b.ReportMetric(ratios[0], "worst-x-one")
	b.ReportMetric(0, "ns/op")
}

// farm is some servers on one database with the agents that hang on them.
type farm struct {
	submit *client.Client
	agents []*farmAgent
	queued int
}

// farmAgent is an agent with the offer that it has in hand.
type farmAgent struct {
	id     qgjob.AgentID
	client *client.Client
	offer  *qgjob.Offer
	claims int
}

func startFarm(b *testing.B, servers, share, agents int) *farm {
	b.Helper()
	url, dir := pgtest.Durable(b).Database(b), b.TempDir()
	base := make([]string, servers)
	for i := range base {
		group := cpuGroup(b, share)
		p, err := start(dir, "server", "--listen=127.0.0.1:0", "--database="+url)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p.kill)
		group.take(b, p.Process.Pid)
		if base[i], err = p.await("Server listening: "); err != nil {
			b.Fatal(err)
		}
	}
	f := &farm{}
	var err error
	if f.submit, err = client.New(base[0], client.Options{}); err != nil {
		b.Fatal(err)
	}
	for i := range agents {
		a := &farmAgent{id: qgjob.AgentID(fmt.Sprintf("a%d", i))}
		if a.client, err = client.New(base[i%servers], client.Options{}); err != nil {
			b.Fatal(err)
		}
		if _, err := a.client.Register(context.Background(), a.id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec",
			Installed: &qgjob.Installed{OrgID: "acme", AppVersionID: "v1"}}); err != nil {
			b.Fatal(err)
		}
		f.agents = append(f.agents, a)
	}
	return f
}

// cpuPeriod is short, so that a server that has used its share up does not
// hold the others' lock for long.
const cpuPeriod = 10 * time.Millisecond

// group is the folder of a control group; empty for none.
type group string

// cpuGroup makes a control group that has a share of one core, in percent, by
// the cpu controller of version 1 or 2, whichever there is.
func cpuGroup(b *testing.B, share int) group {
	b.Helper()
	if share == 100 {
		return ""
	}
	period, quota := cpuPeriod.Microseconds(), cpuPeriod.Microseconds()*int64(share)/100
	root, limits := "/sys/fs/cgroup", map[string]string{"cpu.max": fmt.Sprint(quota, " ", period)}
	if _, err := os.Stat("/sys/fs/cgroup/cpu"); err == nil {
		root, limits = "/sys/fs/cgroup/cpu", map[string]string{"cpu.cfs_period_us": fmt.Sprint(period), "cpu.cfs_quota_us": fmt.Sprint(quota)}
	}
	dir, err := os.MkdirTemp(root, "qgjob-bench-")
	if err != nil {
		b.Skipf("no share of a core can be set here: %v", err)
	}
	b.Cleanup(func() { _ = syscall.Rmdir(dir) }) // when who is in it has ended
	for name, value := range limits {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			b.Skipf("no share of a core can be set here: %v", err)
		}
	}
	return group(dir)
}

// take puts a process into the group.
func (g group) take(b *testing.B, pid int) {
	b.Helper()
	if g == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(string(g), "cgroup.procs"), []byte(fmt.Sprint(pid)), 0o600); err != nil {
		b.Skipf("no share of a core can be set here: %v", err)
	}
}

// measure gives how many jobs a second ended in one slice of time.
func (f *farm) measure(b *testing.B) float64 {
	b.Helper()
	for f.queued < 15_000 {
		req := qgjob.SubmitRequest{OrgID: "acme", Jobs: make([]qgjob.JobSpec, 500)}
		for i := range req.Jobs {
			req.Jobs[i] = qgjob.JobSpec{AppVersionID: "v1", TestPath: "tests/a.spec.js", Target: "emulator", Priority: 5}
		}
		if _, err := f.submit.Submit(context.Background(), req, ""); err != nil {
			b.Fatal(err)
		}
		f.queued += len(req.Jobs)
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for _, a := range f.agents {
		wg.Go(func() {
			for time.Since(begin) < replicaSlice {
				ended, err := a.step()
				if err != nil {
					b.Errorf("agent %s: %v", a.id, err)
					return
				}
				if ended {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	f.queued -= int(done.Load())
	return float64(done.Load()) / time.Since(begin).Seconds()
}

// step claims when nothing is in hand; else it starts that and completes it,
// with the next claim in the same call.
func (a *farmAgent) step() (ended bool, err error) {
	ctx := context.Background()
	a.claims++
	claim := qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%08d", a.claims), WaitMS: 1000}
	if a.offer == nil {
		resp, err := a.client.Claim(ctx, a.id, claim)
		a.take(resp.Offers)
		return false, err
	}
	if _, err := a.client.Start(ctx, a.offer.LeaseID, qgjob.StartRequest{AgentID: a.id, Incarnation: 1}); err != nil {
		return false, err
	}
	resp, err := a.client.Complete(ctx, a.offer.LeaseID, qgjob.CompleteRequest{AgentID: a.id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1", Next: &claim})
	if a.offer = nil; err == nil && resp.Next != nil {
		a.take(resp.Next.Offers)
	}
	return err == nil, err
}

func (a *farmAgent) take(offers []qgjob.Offer) {
	if len(offers) > 0 {
		a.offer = &offers[0]
	}
}
