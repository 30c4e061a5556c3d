package script_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

const (
	replicaCallers = 64
	replicaSlice   = 3 * time.Second
)

// BenchmarkReplicas measures how many jobs a second 64 agents get through one
// server process and through three, each with one core (GOMAXPROCS=1), on one
// PostgreSQL that syncs to disk. A job is what an agent asks for: start, and
// complete with the next claim in it. Each round measures both, one right
// after the other, and the medians and the median of the rounds' ratios are
// reported. Ask for -benchtime 7x.
func BenchmarkReplicas(b *testing.B) {
	b.Setenv("GOMAXPROCS", "1")
	one, three := startFarm(b, 1), startFarm(b, 3)
	var single, triple, ratios []float64
	for range b.N {
		a, c := one.measure(b), three.measure(b)
		single, triple, ratios = append(single, a), append(triple, c), append(ratios, c/a)
	}
	for _, list := range [][]float64{single, triple, ratios} {
		slices.Sort(list)
	}
	middle := b.N / 2
	b.ReportMetric(single[middle], "one-jobs/s")
	b.ReportMetric(triple[middle], "three-jobs/s")
	b.ReportMetric(ratios[middle], "x-one")
	b.ReportMetric(ratios[0], "worst-x-one")
	b.ReportMetric(0, "ns/op")
	b.Logf("one: %.0f; three: %.0f; ratios: %.2f", single, triple, ratios)
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

func startFarm(b *testing.B, servers int) *farm {
	b.Helper()
	url, dir := pgtest.Durable(b).Database(b), b.TempDir()
	base := make([]string, servers)
	for i := range base {
		p, err := start(dir, "server", "--listen=127.0.0.1:0", "--database="+url)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p.kill)
		if base[i], err = p.await("Server listening: "); err != nil {
			b.Fatal(err)
		}
	}
	f := &farm{}
	var err error
	if f.submit, err = client.New(base[0], client.Options{}); err != nil {
		b.Fatal(err)
	}
	for i := range replicaCallers {
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
