package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/qualgent/qgjob"
)

func BenchmarkSubmit(b *testing.B) {
	for _, grouped := range []bool{false, true} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("grouped=%v/callers=%d", grouped, callers), func(b *testing.B) {
				s := openTest(b, Options{Ungrouped: !grouped})
				b.SetParallelism((callers + 1) / 2)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
			})
		}
	}
}

func BenchmarkClaimComplete(b *testing.B) {
	ctx := context.Background()
	for _, grouped := range []bool{false, true} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("grouped=%v/callers=%d", grouped, callers), func(b *testing.B) {
				s := openTest(b, Options{Ungrouped: !grouped})
				req := oneJob("acme", 5)
				for left := b.N; left > 0; left -= len(req.Jobs) {
					req.Jobs = req.Jobs[:1]
					for len(req.Jobs) < min(left, 5000) {
						req.Jobs = append(req.Jobs, req.Jobs[0])
					}
					if _, err := s.Submit(ctx, "", req); err != nil {
						b.Fatal(err)
					}
				}
				var agents, claims atomic.Int64
				b.SetParallelism((callers + 1) / 2)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					id := qgjob.AgentID(fmt.Sprintf("a%d", agents.Add(1)))
					if _, err := s.Register(ctx, id, qgjob.RegisterRequest{Incarnation: 1, Target: "emulator", Runner: "exec"}); err != nil {
						b.Error(err)
						return
					}
					for pb.Next() {
						resp, err := s.Claim(ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%08d", claims.Add(1))})
						if err != nil || len(resp.Offers) != 1 {
							b.Error(resp, err)
							return
						}
						o := resp.Offers[0]
						if _, err := s.Start(ctx, o.LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1}); err != nil {
							b.Error(err)
							return
						}
						if _, err := s.Complete(ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			})
		}
	}
}
