package storetest

import (
	"fmt"
	"sync"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

var crowdTests = []test{
	{"crowd/no job twice, none left", func(w *world) {
		const agents, perRun, runs = 8, 25, 8
		var wg sync.WaitGroup
		w.unwanted = true
		for i := range agents {
			w.register(qgjob.AgentID(fmt.Sprintf("a%d", i)))
		}
		errs := make([]error, agents+runs)
		for i := range runs {
			wg.Go(func() {
				_, errs[agents+i] = w.s.Submit(w.ctx, fmt.Sprintf("key-%d", i), qgjob.SubmitRequest{OrgID: "acme", Jobs: jobs(fmt.Sprintf("v%d", i%3), perRun)})
			})
		}
		wg.Wait()
		starts := make([][]qgjob.JobID, agents)
		for i := range agents {
			wg.Go(func() { starts[i], errs[i] = drainAll(w, qgjob.AgentID(fmt.Sprintf("a%d", i))) })
		}
		wg.Wait()
		w.unwanted = false
		for _, err := range errs {
			w.ok(err)
		}
		seen := map[qgjob.JobID]bool{}
		for _, list := range starts {
			for _, id := range list {
				if seen[id] {
					w.Fatalf("%s was started twice", id)
				}
				seen[id] = true
			}
		}
		w.equal("jobs started", len(seen), perRun*runs)
		w.check()
		for id := qgjob.RunID(1); id <= runs; id++ {
			w.equal("conclusion", w.runOf(id).Conclusion, qgjob.ConclusionPassed)
			w.equal("events", len(w.checkEvents(id)), 2+3*perRun)
		}
	}},
}

// drainAll runs jobs on one agent until nothing waits any more.
func drainAll(w *world, id qgjob.AgentID) (started []qgjob.JobID, err error) {
	for n := 0; ; n++ {
		resp, err := w.s.Claim(w.ctx, id, qgjob.ClaimRequest{Incarnation: 1, ClaimID: fmt.Sprintf("claim-%s-%d", id, n), Max: 1 + n%3})
		if err != nil {
			return started, err
		}
		if len(resp.Offers) == 0 {
			waits, err := anyWaits(w.s, w)
			if err != nil || !waits {
				return started, err
			}
			continue
		}
		for _, o := range resp.Offers {
			if _, err := w.s.Start(w.ctx, o.LeaseID, qgjob.StartRequest{AgentID: id, Incarnation: 1}); err != nil {
				return started, err
			}
			started = append(started, o.Job.JobID)
			if _, err := w.s.Complete(w.ctx, o.LeaseID, qgjob.CompleteRequest{AgentID: id, Incarnation: 1, Outcome: qgjob.OutcomePassed, Digest: "digest-1"}); err != nil {
				return started, err
			}
		}
	}
}

func anyWaits(s *store.Store, w *world) (bool, error) {
	groups, err := s.Groups(w.ctx, "")
	for _, g := range groups {
		if g.Waiting > 0 {
			return true, err
		}
	}
	return false, err
}
