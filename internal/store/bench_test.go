package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// callers runs b.N operations on so many goroutines and reports how many a
// second were done. Each goroutine gets its own do.
func callers(b *testing.B, n int, begin func(caller int) (do func() error)) float64 {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	ready := make([]func() error, n)
	for i := range n {
		ready[i] = begin(i)
	}
	var wg sync.WaitGroup
	b.ResetTimer()
	for _, do := range ready {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "ops/s")
	return rate
}

// benchmark measures an operation at 1, 8 and 64 callers, each first with a
// transaction of its own and then grouped, and reports the ratio of the two
// and of an fsync probe taken just before.
func benchmark(b *testing.B, prepare func(b *testing.B, s *Store, n int) func(caller int) func() error) {
	for _, n := range []int{1, 8, 64} {
		var alone float64
		for _, grouped := range []bool{false, true} {
			name := "ungrouped"
			if grouped {
				name = "grouped"
			}
			b.Run(fmt.Sprintf("callers=%d/%s", n, name), func(b *testing.B) {
				fsyncs := probe(b)
				s := openTest(b, Options{Ungrouped: !grouped})
				rate := callers(b, n, prepare(b, s, n))
				b.ReportMetric(rate/fsyncs, "x-fsync")
				if !grouped {
					alone = rate
				} else if alone > 0 {
					b.ReportMetric(rate/alone, "x-ungrouped")
				}
			})
		}
	}
}

// probe gives how often a second this disk can append 4 KiB and sync them.
func probe(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "probe"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	const rounds = 30
	begin := time.Now()
	for range rounds {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return rounds / time.Since(begin).Seconds()
}

// BenchmarkFsync is what the disk allows: one 4 KiB append and fsync.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "probe"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	callers(b, 1, func(int) func() error {
		return func() error {
			if _, err := f.Write(page); err != nil {
				return err
			}
			return f.Sync()
		}
	})
}

// BenchmarkSubmit is one run of one job.
func BenchmarkSubmit(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store, _ int) func(int) func() error {
		return func(int) func() error {
			return func() error {
				_, err := s.Submit(context.Background(), "", oneJob("acme", 5))
				return err
			}
		}
	})
}

// BenchmarkClaimComplete is one job from its claim over its start to its
// result. The queue holds one run for every hundred jobs.
func BenchmarkClaimComplete(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store, n int) func(int) func() error {
		fillQueue(b, s)
		return func(caller int) func() error { return takeJobs(b, s, caller) }
	})
}

// BenchmarkGrouping is the ratio that group commit is worth at 64 callers. A
// disk that others use too changes its speed by the second, so each round
// measures both, one right after the other, and the median of the rounds'
// ratios is reported. Ask for -benchtime 15x.
func BenchmarkGrouping(b *testing.B) {
	const slice = 200 * time.Millisecond
	alone, grouped := openTest(b, Options{Ungrouped: true}), openTest(b, Options{})
	var ratios []float64
	for range b.N {
		before := submits(b, alone, 64, slice)
		ratios = append(ratios, submits(b, grouped, 64, slice)/before)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-ungrouped")
	b.ReportMetric(ratios[0], "worst-x")
	b.ReportMetric(0, "ns/op")
}

// submits gives how many submissions a second so many callers get through.
func submits(b *testing.B, s *Store, callers int, slice time.Duration) float64 {
	b.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(begin) < slice {
				if _, err := s.Submit(context.Background(), "", oneJob("acme", 5)); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}
