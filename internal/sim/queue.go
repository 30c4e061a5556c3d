package sim

import (
	"container/heap"

	"github.com/qualgent/qgjob/internal/schedule"
)

// waiting is a job in a group's queue.
type waiting struct {
	schedule.Job
	number int // in the workload
}

// queue is the waiting jobs of one group, first one on top, with the
// aggregates that the rule sees.
type queue struct {
	jobs []waiting
	fifo bool // oldest first, whatever the priority: the rules that know nothing of estimates
	byID bool // priority, then oldest
	runs map[int64]int
	work float64
}

func (q *queue) Len() int      { return len(q.jobs) }
func (q *queue) Swap(i, k int) { q.jobs[i], q.jobs[k] = q.jobs[k], q.jobs[i] }
func (q *queue) Push(x any)    { q.jobs = append(q.jobs, x.(waiting)) }

func (q *queue) Less(i, k int) bool {
	a, b := q.jobs[i].Job, q.jobs[k].Job
	switch {
	case q.fifo:
		return a.Seq < b.Seq
	case q.byID && a.Priority == b.Priority:
		return a.Seq < b.Seq
	}
	return a.Less(b)
}

func (q *queue) Pop() any {
	last := q.jobs[len(q.jobs)-1]
	q.jobs = q.jobs[:len(q.jobs)-1]
	return last
}

func (q *queue) add(j waiting) {
	heap.Push(q, j)
	q.runs[j.Run]++
	q.work += j.Estimate
}

func (q *queue) take() waiting {
	j := heap.Pop(q).(waiting)
	if q.runs[j.Run]--; q.runs[j.Run] == 0 {
		delete(q.runs, j.Run)
	}
	q.work -= j.Estimate
	if len(q.jobs) == 0 {
		q.work = 0 // what rounding left
	}
	return j
}

// aggregates gives what the rule sees of the queue.
func (q *queue) aggregates(submitted func(number int) float64) schedule.Queue {
	if len(q.jobs) == 0 {
		return schedule.Queue{}
	}
	head := q.jobs[0]
	return schedule.Queue{
		Waiting: len(q.jobs), Work: q.work, Runs: len(q.runs),
		HeadPriority: head.Priority, HeadSubmitted: submitted(head.number),
	}
}
