package server

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

// FAULTS, Twice: SELECT then UPDATE claims. Many agents knock at the same
// instant; each job goes to one of them.
func TestFault_Twice_simultaneousClaims(t *testing.T) {
	r := newRig(t, rigOptions{})
	const agents, jobs = 16, 24
	var specs []qgjob.JobSpec
	for i := range jobs {
		specs = append(specs, spec("v1", fmt.Sprintf("t/%d.js", i)))
	}
	r.submit(specs...)
	var mu sync.Mutex
	given := map[qgjob.JobID][]string{}
	var all sync.WaitGroup
	for i := range agents {
		id := fmt.Sprint("a", i)
		r.register(id)
		all.Go(func() {
			for range jobs {
				got := <-r.poll(t.Context(), id, claimOf(0))
				if got.err != nil {
					t.Error(got.err)
					return
				}
				for _, o := range got.Offers {
					mu.Lock()
					given[o.Job.JobID] = append(given[o.Job.JobID], id)
					mu.Unlock()
					r.start(id, o.LeaseID)
					r.complete(id, o.LeaseID, qgjob.OutcomePassed)
				}
			}
		})
	}
	all.Wait()
	for id, to := range given {
		if len(to) != 1 {
			t.Errorf("%s was given to %v", id, to)
		}
	}
	if len(given) != jobs {
		t.Errorf("%d of %d jobs were given out", len(given), jobs)
	}
}

// FAULTS, Twice: a second server's start resets the first one's running jobs.
// A restart leaves leases alone, and ids do not start again.
func TestFault_Twice_restartKeepsRunningJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"), spec("v1", "b.js"))
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		r.stop()
		time.Sleep(time.Hour) // the server is down for longer than any TTL
		again := newRig(t, rigOptions{loops: true, dir: r.dir})
		time.Sleep(ttl - 2*time.Second)
		if j := again.job(1); j.Status != qgjob.Running || j.AgentID != "a1" {
			t.Fatalf("after a restart job_1 is %s on %q; want it running on a1", j.Status, j.AgentID)
		}
		if got := again.complete("a1", offer.LeaseID, qgjob.OutcomePassed); got.Status != qgjob.Passed {
			t.Errorf("its result: %s", got.Status)
		}
		if j := again.job(2); j.Status != qgjob.Queued {
			t.Errorf("the waiting job is %s", j.Status)
		}
		if resp := again.submit(spec("v1", "c.js")); resp.JobIDs[0] != 3 || resp.RunID != 2 {
			t.Errorf("new ids %+v; want job_3 of run_2", resp)
		}
	})
}

// FAULTS, Twice: a stuck-timeout shorter than a test re-runs it for ever. A
// test that takes hours runs once while its agent renews.
func TestFault_Twice_longTestIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		job := spec("v1", "a.js")
		job.TimeoutS = 4 * 3600
		r.submit(job)
		r.register("a1")
		r.register("a2")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		for range 360 { // an hour
			time.Sleep(10 * time.Second)
			must[qgjob.RenewResponse](r, 200, "POST", "/v1/agents/a1/renew", qgjob.RenewRequest{Incarnation: 1, Leases: []qgjob.LeaseID{offer.LeaseID}})
		}
		if got := <-r.poll(t.Context(), "a2", claimOf(0)); len(got.Offers) != 0 {
			t.Errorf("a2 was offered %s", got.Offers[0].Job.JobID)
		}
		r.complete("a1", offer.LeaseID, qgjob.OutcomePassed)
		if j := r.job(1); j.Status != qgjob.Passed || j.Attempts != 1 {
			t.Errorf("job %+v", j)
		}
	})
}

// FAULTS, Twice: a result from someone who no longer holds the job. It is
// refused, kept on its attempt, and the job is untouched.
func TestFault_Twice_staleResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"))
		r.register("a1")
		first := r.take("a1")
		r.start("a1", first.LeaseID)
		r.until(1, qgjob.Queued, 2*ttl)
		r.register("a2")
		second := r.take("a2")
		r.start("a2", second.LeaseID)
		p := r.refuse(409, qgjob.KindConflict, "", "POST", "/v1/leases/"+string(first.LeaseID)+"/complete", result("a1", qgjob.OutcomeFailed))
		if p.Code != qgjob.CodeStaleLease {
			t.Errorf("code %q; want stale_lease", p.Code)
		}
		if j := r.job(1); j.Status != qgjob.Running || j.AgentID != "a2" {
			t.Errorf("job %+v; want it running on a2", j)
		}
		if got := r.complete("a2", second.LeaseID, qgjob.OutcomePassed); got.Status != qgjob.Passed {
			t.Errorf("a2's result: %s", got.Status)
		}
	})
}

// FAULTS, Lost: claimed work of a dead machine is never issued again, and the
// device stays busy for ever. It goes to another agent, the budget is three,
// and then the job is errored and says why.
func TestFault_Lost_deadMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"))
		for i := range qgjob.MaxInfraFails {
			id := fmt.Sprint("a", i)
			r.register(id)
			got := <-r.poll(t.Context(), id, claimOf(25*time.Second))
			if len(got.Offers) != 1 || got.Offers[0].Number != i+1 {
				t.Fatalf("%s: %+v", id, got)
			}
			r.start(id, got.Offers[0].LeaseID)
			want := qgjob.Queued
			if i == qgjob.MaxInfraFails-1 {
				want = qgjob.Errored
			}
			r.until(1, want, 2*ttl)
		}
		j := r.job(1)
		if j.Reason != qgjob.ReasonPoison || j.Message == "" || j.Attempts != 3 {
			t.Errorf("job %+v; want poison after 3 attempts", j)
		}
		run := must[qgjob.Run](r, 200, "GET", "/v1/runs/run_1", nil)
		if run.Conclusion != qgjob.ConclusionErrored {
			t.Errorf("run %+v; want errored, never passed", run)
		}
	})
}

// FAULTS, Lost: no free device, and the job fails at once; or the jobs that
// join a group that is being served are never scheduled.
func TestFault_Lost_lateJobsOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{loops: true})
		r.submit(spec("v1", "a.js"))
		time.Sleep(20 * time.Minute) // nobody there
		if j := r.job(1); j.Status != qgjob.Queued {
			t.Fatalf("a job without a device is %s; want it waiting", j.Status)
		}
		r.register("a1")
		offer := r.take("a1")
		r.start("a1", offer.LeaseID)
		r.submit(spec("v1", "late.js"))
		req := result("a1", qgjob.OutcomePassed)
		next := claimOf(0)
		req.Next = &next
		got := must[qgjob.CompleteResponse](r, 200, "POST", "/v1/leases/"+string(offer.LeaseID)+"/complete", req)
		if got.Next == nil || len(got.Next.Offers) != 1 || got.Next.Offers[0].Job.JobID != 2 {
			t.Fatalf("next %+v; want the late job", got.Next)
		}
		r.start("a1", got.Next.Offers[0].LeaseID)
		r.complete("a1", got.Next.Offers[0].LeaseID, qgjob.OutcomePassed)
		// Finished jobs do not run again with new ones of their group.
		r.submit(spec("v1", "later.js"))
		if offer := r.take("a1"); offer.Job.JobID != 3 {
			t.Errorf("offered %s; want job_3", offer.Job.JobID)
		}
	})
}

// FAULTS, Order: ids sorted as text.
func TestFault_Order_job10AfterJob9(t *testing.T) {
	r := newRig(t, rigOptions{})
	var specs []qgjob.JobSpec
	for i := range 12 {
		specs = append(specs, spec("v1", fmt.Sprintf("t/%d.js", i)))
	}
	r.submit(specs...)
	page := must[qgjob.Page[qgjob.Job]](r, 200, "GET", "/v1/jobs?cursor=job_8", nil)
	if page.Items[0].JobID != 9 || page.Items[1].JobID != 10 || len(page.Items) != 4 {
		t.Errorf("after job_8 come %v", page.Items)
	}
	r.register("a1")
	for i := range qgjob.JobID(12) {
		offer := r.take("a1")
		if offer.Job.JobID != i+1 {
			t.Fatalf("offer %d is %s", i+1, offer.Job.JobID)
		}
		r.start("a1", offer.LeaseID)
		r.complete("a1", offer.LeaseID, qgjob.OutcomePassed)
	}
}
