package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
	"github.com/qualgent/qgjob/internal/schedule"
)

// Claim offers an agent the jobs that the scheduler chooses for it, at most
// req.Max of one group. It does not wait: no offers means that nothing suits
// now. The same claim id again gets the same offers.
func (s *Store) Claim(ctx context.Context, agent qgjob.AgentID, req qgjob.ClaimRequest) (resp qgjob.ClaimResponse, err error) {
	var frozen error
	err = s.updateKnown(ctx, hint{claims: max(1, req.Max)}, func(t *tx) error {
		frozen = nil
		resp, err = t.claim(agent, req)
		if qgjob.CodeOf(err) == qgjob.CodeFailover { // the agent was heard of all the same
			frozen, err = err, nil
		}
		return err
	})
	return resp, errors.Join(err, frozen)
}

func (t *tx) claim(id qgjob.AgentID, req qgjob.ClaimRequest) (qgjob.ClaimResponse, error) {
	resp := qgjob.ClaimResponse{Offers: []qgjob.Offer{}}
	a, err := t.agent(id, req.Incarnation)
	if err != nil {
		return resp, err
	}
	resp.Drain = a.draining
	if len(t.m.held[id]) > 0 {
		resp.Offers, err = t.repeatClaim(id, req.ClaimID)
		return resp, err
	}
	t.heard(a)
	t.holds(a, req.Installed)
	if a.draining {
		return resp, nil
	}
	if err := t.frozen(); err != nil {
		return resp, err
	}
	var group qgjob.GroupID
	for len(resp.Offers) < t.batch(resp.Offers, req.Max) {
		offer, err := t.offerNext(a, req.ClaimID, group)
		if err != nil {
			return resp, err
		}
		if offer == nil {
			break
		}
		group = offer.Job.GroupID
		resp.Offers = append(resp.Offers, *offer)
	}
	return resp, nil
}

// batch is how many offers a claim may hold, given those that it has: an agent
// with short jobs asks for several at once, and gets no more than its share of
// what waits, so that no job is held by one agent while another could run it.
func (t *tx) batch(have []qgjob.Offer, most int) int {
	if len(have) == 0 || most <= 1 {
		return 1
	}
	g, _ := t.m.state.Group(have[0].Job.GroupID)
	able, _ := t.m.state.Matching(g.Build.Org, g.Target, g.Requires)
	return min(most, (g.Waiting+len(have))/max(1, able))
}

// repeatClaim answers an agent that holds jobs already: with the same offers
// when it is the same claim, else it is busy.
func (t *tx) repeatClaim(id qgjob.AgentID, claim string) ([]qgjob.Offer, error) {
	offers := []qgjob.Offer{}
	var jobs []*jobRow
	err := t.each(`SELECT `+jobColumns+` FROM jobs WHERE agent_id = $1 AND state IN ('assigned', 'running', 'cancelling') ORDER BY lease_no, id`,
		[]any{string(id)}, func(rows scanner) error {
			j, err := scanJob(rows)
			if err == nil {
				jobs = append(jobs, t.know(j))
			}
			return err
		})
	if err != nil {
		return offers, fmt.Errorf("read the jobs of agent %s: %w", id, err)
	}
	for _, j := range jobs {
		if j.claimID != claim {
			e := qgjob.Conflict(qgjob.CodeAgentBusy, "agent %s holds %s already", id, j.id)
			e.Hint = "complete it, or renew without it to give it back"
			return []qgjob.Offer{}, e
		}
		app, err := t.app(j.org, j.version, j.build)
		if err != nil {
			return offers, err
		}
		offers = append(offers, qgjob.Offer{LeaseID: j.LeaseID, Number: j.LeaseNo, Job: j.view(), App: app})
	}
	return offers, nil
}

// offerNext lets the scheduler choose, takes the head of the chosen group and
// leases it. With a group given only that one will do. nil: nothing suits.
func (t *tx) offerNext(a *agentRow, claim string, only qgjob.GroupID) (*qgjob.Offer, error) {
	now := schedule.Seconds(t.now)
	skipped := map[qgjob.GroupID]schedule.Queue{} // groups whose waiting jobs had all better go elsewhere
	defer func() {
		for id, q := range skipped {
			t.m.state.SetQueue(id, q)
		}
	}()
	for {
		c := t.pick(a, now)
		if c.Group == 0 && a.pinned != "" && a.pinTaken && !t.pinWaits(a, skipped) {
			a.pinned, a.pinTaken = "", false // its group is empty: the pin has done its work
			t.saveAgent(a)
			c = t.pick(a, now)
		}
		if c.Group == 0 || (only != 0 && c.Group != only) {
			return nil, nil
		}
		j, err := t.head(c.Group, a)
		if err != nil {
			return nil, err
		}
		if j != nil {
			for id, q := range skipped {
				t.m.state.SetQueue(id, q)
			}
			skipped = nil
			return t.offer(a, j, claim, c.Install)
		}
		g, _ := t.m.state.Group(c.Group)
		skipped[c.Group] = g.Queue
		t.m.state.SetQueue(c.Group, schedule.Queue{})
	}
}

// pinWaits reports whether a job waits of what an agent is pinned to, though
// the agent may not take it now: its org is over quota, or it had better go
// elsewhere.
func (t *tx) pinWaits(a *agentRow, skipped map[qgjob.GroupID]schedule.Queue) bool {
	labels, _ := parseLabels(a.labels) // was written by labelsJSON
	for key, id := range t.m.groups {
		if key.version != a.pinned || key.target != a.target {
			continue
		}
		g, _ := t.m.state.Group(id)
		if (g.Waiting > 0 || skipped[id].Waiting > 0) && qgjob.Meets(labels, g.Requires) {
			return true
		}
	}
	return false
}

// pick asks the scheduler as if the agent were free: while a batch is claimed
// it holds jobs of that batch.
func (t *tx) pick(a *agentRow, now float64) schedule.Choice {
	have, _ := t.m.state.Agent(a.id)
	free := have
	free.Serving = 0
	t.m.state.SetAgent(free)
	c := schedule.Pick(t.m.state, a.id, now, t.w.opts.Policy)
	t.m.state.SetAgent(have)
	return c
}

func (t *tx) offer(a *agentRow, j *jobRow, claim string, install float64) (*qgjob.Offer, error) {
	c, err := lease.Offer(j.Job, newLeaseID(), a.id, a.incarnation, t.now)
	if err != nil {
		return nil, fmt.Errorf("offer %s: %w", j.id, err)
	}
	j.claimID = claim
	if err := t.apply(j, c, nil); err != nil {
		return nil, err
	}
	t.gathered.offered = append(t.gathered.offered, []any{string(j.LeaseID), string(j.org), int64(j.id), j.LeaseNo, string(a.id), a.incarnation, t.nowMS})
	now := schedule.Seconds(t.now)
	t.promiseUpload(a, j, install)
	t.m.lease(j, now, install)
	t.touch(a.id)
	o := t.m.state.Org(j.org)
	o.Used = o.Used.Charge(now, install+float64(j.estimateMS)/1000, o.Weight)
	t.m.state.SetOrg(o)
	t.dirtyOrg(j.org)
	t.holds(a, &qgjob.Installed{OrgID: j.org, AppVersionID: j.version, BuildSHA256: j.build})
	if a.pinned != "" && !a.pinTaken {
		a.pinTaken = true
		t.saveAgent(a)
	}
	app, err := t.app(j.org, j.version, j.build)
	return &qgjob.Offer{LeaseID: j.LeaseID, Number: j.LeaseNo, Job: j.view(), App: app}, err
}

func (t *tx) dirtyOrg(id qgjob.OrgID) {
	if t.dirty.orgs == nil {
		t.dirty.orgs = map[qgjob.OrgID]bool{}
	}
	t.dirty.orgs[id] = true
}

// newLeaseID draws the 128 random bits that fence an attempt (LEASES rule 1).
func newLeaseID() qgjob.LeaseID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return qgjob.LeaseID(hex.EncodeToString(b[:]))
}
