package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store/pgtest"
)

// BenchmarkEngines measures both engines in one run: one-job submissions, and
// one job from its claim over its start to its result. PostgreSQL syncs to the
// same disk; with three servers the callers take turns between them.
func BenchmarkEngines(b *testing.B) {
	for _, engine := range []struct {
		name    string
		servers int
	}{{"sqlite", 1}, {"postgres", 1}, {"postgres", 3}} {
		for _, n := range []int{1, 8, 64} {
			at := fmt.Sprintf("%s/servers=%d/callers=%d", engine.name, engine.servers, n)
			b.Run("submit/"+at, func(b *testing.B) {
				list := openEngines(b, engine.name, engine.servers)
				callers(b, n, func(caller int) func() error {
					s := list[caller%len(list)]
					return func() error {
						_, err := s.Submit(context.Background(), "", oneJob("acme", 5))
						return err
					}
				})
			})
			b.Run("claim+complete/"+at, func(b *testing.B) {
				list := openEngines(b, engine.name, engine.servers)
				fillQueue(b, list[0])
				callers(b, n, func(caller int) func() error { return takeJobs(b, list[caller%len(list)], caller) })
			})
		}
	}
}

func openEngines(b *testing.B, engine string, servers int) []*Store {
	b.Helper()
	where := b.TempDir()
	if engine == "postgres" {
		where = pgtest.Durable(b).Database(b)
	}
	list := make([]*Store, servers)
	for i := range list {
		list[i] = ok[*Store](b)(Open(context.Background(), where, Options{}))
		b.Cleanup(func() { _ = list[i].Close() })
	}
	return list
}

// fillQueue submits b.N jobs, one run for every hundred.
func fillQueue(b *testing.B, s *Store) {
	b.Helper()
	for left := b.N; left > 0; left -= 100 {
		req := oneJob("acme", 5)
		for len(req.Jobs) < min(left, 100) {
			req.Jobs = append(req.Jobs, req.Jobs[0])
		}
		ok[qgjob.SubmitResponse](b)(s.Submit(context.Background(), "", req))
	}
}

// takeJobs is an agent that holds the build and takes one job after another.
func takeJobs(b *testing.B, s *Store, caller int) func() error {
	b.Helper()
	ctx := context.Background()
	id := qgjob.AgentID(fmt.Sprintf("a%d", caller))
	build := &qgjob.Installed{OrgID: "acme", AppVersionID: "v1"} // warm: no install is weighed
	ok[qgjob.RegisterResponse](b)(s.Register(ctx, id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec", Installed: build}))
	claims := 0
	return func() error {
		claims++
		resp, err := s.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%08d", claims)})
		if err != nil || len(resp.Offers) != 1 {
			return fmt.Errorf("%d offers, %w", len(resp.Offers), err)
		}
		lease := resp.Offers[0].LeaseID
		if _, err := s.Start(ctx, lease, qgjob.StartRequest{AgentID: id, Incarnation: 1}); err != nil {
			return err
		}
		_, err = s.Complete(ctx, lease, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"})
		return err
	}
}
