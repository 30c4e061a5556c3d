package store

import "github.com/qualgent/qgjob"

// tallyMost bounds the runs whose tallies are remembered; beyond it all are
// read anew.
const tallyMost = 2000

// kept are rows that the mirror remembers from one flush to the next: the jobs
// that are leased and the tallies of their runs, since nearly every operation
// is about one of them. They are as the last flush left them; what another
// server changed is taken out by its turn.
type kept struct {
	leases  map[qgjob.LeaseID]*jobRow
	lease   map[qgjob.JobID]qgjob.LeaseID // under which a job is in leases
	tallies map[qgjob.RunID]*runCount
}

func newKept() kept {
	return kept{map[qgjob.LeaseID]*jobRow{}, map[qgjob.JobID]qgjob.LeaseID{}, map[qgjob.RunID]*runCount{}}
}

// job gives the row of a leased job, if it is remembered.
func (k *kept) job(id qgjob.JobID) *jobRow { return k.leases[k.lease[id]] }

// forget makes sure that a job is read when it is asked for next.
func (k *kept) forget(id qgjob.JobID) {
	delete(k.leases, k.lease[id])
	delete(k.lease, id)
}

// keep takes what a transaction knew when it was committed, of changed jobs
// among others.
func (k *kept) keep(seen *known, changed []int64) {
	for _, id := range changed {
		k.forget(qgjob.JobID(id))
	}
	for id, j := range seen.jobs {
		k.forget(id)
		if j.side == "" && j.State.Leased() {
			k.leases[j.LeaseID], k.lease[id] = j, j.LeaseID
		}
	}
	if len(k.tallies) > tallyMost {
		clear(k.tallies)
	}
	for id, c := range seen.tallies {
		if c.now.Conclude() != "" {
			delete(k.tallies, id) // it will not change any more
		} else {
			k.tallies[id] = &runCount{now: c.now, failFast: c.failFast, stop: c.stop}
		}
	}
}
