package sim

import (
	"container/heap"
	"math"
	"testing"

	"github.com/qualgent/qgjob/internal/schedule"
	"pgregory.net/rapid"
)

// TestQueueAggregates: after any adding and taking, the aggregates are those
// of the jobs that are there, and the head is the one that goes first.
func TestQueueAggregates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{runs: map[int64]int{}, fifo: rapid.Bool().Draw(t, "fifo"), byID: rapid.Bool().Draw(t, "by id")}
		var there []waiting
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(there) > 0 && rapid.IntRange(0, 2).Draw(t, "take") == 0 {
				got := q.take()
				for k, j := range there {
					if j.number == got.number {
						there = append(there[:k:k], there[k+1:]...)
						break
					}
				}
				for _, j := range there {
					if !q.fifo && j.Priority > got.Priority {
						t.Fatalf("priority %d is taken while %d waits", got.Priority, j.Priority)
					}
					if q.fifo && j.Seq < got.Seq {
						t.Fatalf("job %d is taken while %d waits", got.Seq, j.Seq)
					}
				}
			} else {
				j := waiting{number: i, Job: schedule.Job{
					Priority: rapid.IntRange(1, 10).Draw(t, "priority"), Run: rapid.Int64Range(1, 4).Draw(t, "run"),
					Estimate: float64(rapid.IntRange(1, 300).Draw(t, "estimate")), Seq: int64(i),
				}}
				q.add(j)
				there = append(there, j)
			}
			check(t, &q, there)
		}
	})
}

func check(t *rapid.T, q *queue, there []waiting) {
	got := q.aggregates(func(n int) float64 { return float64(n) })
	work, runs := 0.0, map[int64]bool{}
	for _, j := range there {
		work += j.Estimate
		runs[j.Run] = true
	}
	if got.Waiting != len(there) || got.Runs != len(runs) || math.Abs(got.Work-work) > 1e-6 {
		t.Fatalf("aggregates %+v of %d jobs, %d runs, %v s", got, len(there), len(runs), work)
	}
	if len(there) == 0 && got != (schedule.Queue{}) {
		t.Fatalf("an empty queue has %+v", got)
	}
}

func TestEventsInOrder(t *testing.T) {
	var e events
	for i, ev := range []event{{at: 5, kind: arrived}, {at: 5, kind: finished}, {at: 1, kind: arrived}, {at: 5, kind: cameUp}, {at: 5, kind: wentDown}, {at: 5, kind: finished}} {
		ev.seq = i
		heap.Push(&e, ev)
	}
	for i, want := range []int{2, 1, 5, 4, 3, 0} {
		if got := heap.Pop(&e).(event); got.seq != want {
			t.Errorf("event %d in order is %d, want %d", i, got.seq, want)
		}
	}
}
