package lease_test

import (
	"fmt"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// move is one thing that can happen; arg is an agent, a lease or a verdict.
type move uint8

const (
	claims move = iota
	serverStart
	serverRenew
	serverResult
	sweepLooks
	sweepExpires
	serverRelease
	userCancels
	serverTimeout
	serverRegister
	replicates
	failsOver
	holdEnds
	takesOffer
	startsTest
	givesUp
	asksRenewal
	ends
	hearsCancel
	hearsStale
	agentDies
	moves
)

var moveNames = [moves]string{"server offers lease %d", "server gets start of lease %d", "server gets renewal of lease %d", "server gets result of lease %d",
	"sweeper sees lease %d unheard of", "server expires lease %d", "server takes back offer %d", "user cancels%.0d", "server times lease %d out",
	"server gets registration %d", "replica catches up%.0d", "server fails over%.0d", "a TTL after the failover%.0d", "agent takes offer %d",
	"agent runs the test of lease %d", "agent drops offer %d", "agent renews lease %d", "agent's test ends as outcome %d", "agent hears cancel for lease %d",
	"agent hears that lease %d is stale", "agent %d dies and restarts"}

// step is a move and what it was about.
type step struct {
	move  move
	agent uint8
	arg   uint8
}

func (s step) String() string {
	text := fmt.Sprintf(moveNames[s.move], s.arg)
	if s.move == ends {
		text = fmt.Sprintf("agent's test ends: %s", outcomes[s.arg])
	}
	if s.agent > 0 {
		text += fmt.Sprintf(" (%s)", agentNames[s.agent])
	}
	return text
}

// successors gives every world that one step leads to, with what that step
// breaks.
func (x *explorer) successors(w world, yield func(step, world, string)) {
	x.serverMoves(w, yield)
	for a := uint8(1); a <= agents; a++ {
		x.agentMoves(w, a, yield)
	}
	for s := uint8(1); s <= w.offered; s++ {
		x.deliveries(w, s, yield)
	}
}

// do plays one step on a copy of the world. A panic of the transitions (an
// illegal move) is a breach like any other.
func do(w world, s step, yield func(step, world, string), play func(w *world) (happens bool, breach string)) {
	happens, breach := func() (happens bool, breach string) {
		defer func() {
			if r := recover(); r != nil {
				happens, breach = true, fmt.Sprint(r)
			}
		}()
		return play(&w)
	}()
	if happens {
		yield(s, w, breach)
	}
}

// apply writes what an event made of the job, and checks the step itself.
func (x *explorer) apply(w *world, before lease.Job, c lease.Change, err error) (bool, string) {
	if err != nil {
		if qgjob.KindOf(err) != qgjob.KindConflict {
			return true, "refused with another kind than conflict: " + err.Error()
		}
		return false, ""
	}
	if c.Attempt != nil {
		s := x.serial(w, c.Attempt.LeaseID)
		if s == 0 {
			return true, "an unknown attempt ended"
		}
		w.now.attempts[s-1].outcome = outcomeNumber(c.Attempt.Outcome)
		if c.Attempt.Outcome != qgjob.OutcomeReleased || w.failedOver == 1 { // a failover may have lost the start
			w.ended |= bit(s)
		}
	}
	x.keep(w, c.Job)
	return true, x.first(wrongStep(before, c)...)
}

// wrongStep is what a change by itself breaks.
func wrongStep(before lease.Job, c lease.Change) (breaches []string) {
	after := c.Job
	if before.State.Terminal() && (after.State != before.State || after.DoneLease != before.DoneLease || c.Attempt != nil) {
		breaches = append(breaches, fmt.Sprintf("I2: a job that had ended as %s was changed to %s", before.State, after.State))
	}
	if after.State != before.State && !qgjob.CanMove(before.State, after.State) {
		breaches = append(breaches, fmt.Sprintf("illegal move %s → %s", before.State, after.State))
	}
	if moved := after.State != before.State || c.Attempt != nil; moved != (c.Event != "") {
		breaches = append(breaches, fmt.Sprintf("event %q of a change %s → %s", c.Event, before.State, after.State))
	}
	if before.CancelRequested && (after.Starts > before.Starts || !after.CancelRequested) {
		breaches = append(breaches, "I5: started or forgotten after the cancel")
	}
	return breaches
}

// serverMoves is what happens to the server by itself.
func (x *explorer) serverMoves(w world, yield func(step, world, string)) {
	cur := w.now.job.lease
	x.sweeperMoves(w, yield)
	if w.releases > 0 && cur != 0 {
		do(w, step{serverRelease, 0, cur}, yield, func(w *world) (bool, string) {
			w.releases--
			j := x.job(w)
			c, err := x.rules.release(j, j.LeaseID, qgjob.ReasonOfferExpired, epoch)
			return x.apply(w, j, c, err)
		})
	}
	if w.cancels > 0 {
		do(w, step{userCancels, 0, 0}, yield, func(w *world) (bool, string) {
			w.cancels--
			j := x.job(w)
			c, err := x.rules.cancel(j)
			return x.apply(w, j, c, err)
		})
	}
	if w.timeouts > 0 && cur != 0 {
		do(w, step{serverTimeout, 0, cur}, yield, func(w *world) (bool, string) {
			w.timeouts--
			j := x.job(w)
			c, err := x.rules.timeout(j, j.LeaseID, lease.Deadline(j))
			return x.apply(w, j, c, err)
		})
	}
	if w.failovers > 0 {
		x.failoverMoves(w, yield)
	}
	if w.hold == 1 {
		do(w, step{holdEnds, 0, 0}, yield, x.endHold)
	}
}

// sweeperMoves: a sweep looks, and expires later what it saw. Anything can
// happen in between.
func (x *explorer) sweeperMoves(w world, yield func(step, world, string)) {
	if w.expiries == 0 {
		return
	}
	r := w.now.job
	if qgjob.JobStates[r.state].Leased() && (w.sightLease != r.lease || w.sightVer != r.ver || w.sightRan != r.started) {
		do(w, step{sweepLooks, 0, r.lease}, yield, func(w *world) (bool, string) {
			w.sightLease, w.sightVer, w.sightRan = r.lease, r.ver, r.started
			return true, ""
		})
	}
	if w.sightLease == 0 {
		return
	}
	do(w, step{sweepExpires, 0, w.sightLease}, yield, func(w *world) (bool, string) {
		w.expiries--
		j, serial, ver, ran := x.job(w), w.sightLease, w.sightVer, w.sightRan
		w.sightLease, w.sightVer, w.sightRan = 0, 0, 0
		was := w.now.job
		c, err := x.rules.expire(j, x.id(w, serial), int64(ver), epoch)
		happens, breach := x.apply(w, j, c, err)
		if !happens {
			return false, ""
		}
		unseen, offer := "", ""
		if was.ver != ver {
			unseen = "a lease renewed since the sweep's look was expired"
		}
		if ran == 0 && w.now.attempts[serial-1].outcome == lost {
			offer = "an attempt was lost although the sweep saw only an offer"
		}
		return true, x.first(breach, offer, unseen)
	})
}

// failoverMoves: replication is asynchronous, so what the replica does not
// have yet is lost.
func (x *explorer) failoverMoves(w world, yield func(step, world, string)) {
	if w.replica != w.now {
		do(w, step{replicates, 0, 0}, yield, func(w *world) (bool, string) {
			w.replica = w.now
			return true, ""
		})
	}
	do(w, step{failsOver, 0, 0}, yield, func(w *world) (bool, string) {
		w.failovers--
		w.now, w.replica = w.replica, server{}
		w.failedOver, w.hold = 1, asByte(!x.rules.noHold)
		w.sightLease, w.sightVer, w.sightRan = 0, 0, 0
		return true, ""
	})
}

// endHold: after a TTL every agent has been told what became of its lease.
func (x *explorer) endHold(w *world) (bool, string) {
	for i := range w.agents {
		if d := w.agents[i]; d.phase != idle && d.lease != w.now.job.lease {
			return false, ""
		}
	}
	w.hold = 0
	return true, ""
}

// agentMoves is what one agent does, and the server for it alone.
func (x *explorer) agentMoves(w world, a uint8, yield func(step, world, string)) {
	d := w.agents[a-1]
	if w.hold == 0 && w.offered < x.bounds.leases && (w.offered > 0 || a == 1) { // the first lease may as well be a's
		do(w, step{claims, a, w.offered + 1}, yield, func(w *world) (bool, string) { return x.offer(w, a) })
	}
	for inc := uint8(1); inc <= d.inc; inc++ { // of every incarnation, as often as it likes
		if inc != d.registered {
			do(w, step{serverRegister, a, inc}, yield, func(w *world) (bool, string) { return x.register(w, a, inc) })
		}
	}
	if w.crashes > 0 {
		do(w, step{agentDies, 0, a}, yield, func(w *world) (bool, string) {
			w.crashes--
			dead := &w.agents[a-1]
			if x.rules.orphans && dead.phase == busy {
				dead.orphan = dead.lease
			}
			dead.phase, dead.lease = idle, 0
			dead.inc++
			return true, ""
		})
	}
	switch d.phase {
	case waiting:
		x.waitingMoves(w, a, yield)
	case busy:
		x.busyMoves(w, a, yield)
	}
}

// waitingMoves: the agent holds an offer and has asked to start it.
func (x *explorer) waitingMoves(w world, a uint8, yield func(step, world, string)) {
	l := w.agents[a-1].lease
	sent := w.letters[l-1].sent
	do(w, step{givesUp, a, l}, yield, func(w *world) (bool, string) {
		w.agents[a-1].phase, w.agents[a-1].lease = idle, 0
		return true, ""
	})
	if sent&startOK != 0 || x.rules.startUnasked {
		do(w, step{startsTest, a, l}, yield, func(w *world) (bool, string) {
			w.agents[a-1].phase = busy
			w.begun |= bit(l)
			return true, ""
		})
	}
	if sent&(startCancel|renewCancel) != 0 {
		do(w, step{hearsCancel, a, l}, yield, func(w *world) (bool, string) { return x.say(w, a, cancelled), "" })
	}
}

// busyMoves: the agent's test runs.
func (x *explorer) busyMoves(w world, a uint8, yield func(step, world, string)) {
	l := w.agents[a-1].lease
	sent := w.letters[l-1].sent
	for _, verdict := range x.bounds.verdicts {
		do(w, step{ends, a, verdict}, yield, func(w *world) (bool, string) { return x.say(w, a, verdict), "" })
	}
	if sent&renewSent == 0 && x.bounds.renews > 0 {
		do(w, step{asksRenewal, a, l}, yield, func(w *world) (bool, string) {
			w.letters[l-1].sent |= renewSent
			return true, ""
		})
	}
	if sent&(startCancel|renewCancel) != 0 {
		do(w, step{hearsCancel, a, l}, yield, func(w *world) (bool, string) { return x.say(w, a, cancelled), "" })
	}
	if sent&renewStale != 0 {
		do(w, step{hearsStale, a, l}, yield, func(w *world) (bool, string) {
			w.agents[a-1].phase, w.agents[a-1].lease = idle, 0
			return true, ""
		})
	}
}

// say ends an agent's attempt: its result is spooled and will be sent until
// the server answers, whatever becomes of the agent.
func (x *explorer) say(w *world, a, verdict uint8) bool {
	l := w.agents[a-1].lease
	w.letters[l-1].sent |= resultSent
	w.letters[l-1].verdict = verdict
	w.agents[a-1].phase, w.agents[a-1].lease = idle, 0
	return true
}

// offer gives the job to an agent that claims. That the agent may be busy by
// the time, or have died, is the network's doing.
func (x *explorer) offer(w *world, a uint8) (bool, string) {
	j := x.job(w)
	d := w.agents[a-1]
	serial, number := w.offered+1, w.now.job.number+1
	w.letters[serial-1] = letters{sent: offerSent, holder: a, inc: d.registered, number: number}
	c, err := x.rules.offer(j, x.rules.fence(serial, number), agentNames[a], int64(d.registered), epoch)
	w.offered = serial
	w.now.attempts[serial-1].known = 1
	return x.apply(w, j, c, err)
}

// register takes an agent's registration; the leases of its older
// incarnations end at once.
func (x *explorer) register(w *world, a, inc uint8) (bool, string) {
	d := &w.agents[a-1]
	if inc < d.registered && !x.rules.anyIncarnation {
		return false, "" // a delayed duplicate
	}
	d.registered = inc
	r := w.now.job
	if !qgjob.JobStates[r.state].Leased() || r.agent != a || r.inc == inc {
		return true, ""
	}
	if r.inc == d.inc {
		return true, x.first("rule 6: an old registration took the lease of a living agent")
	}
	j := x.job(w)
	c, err := x.rules.expire(j, j.LeaseID, j.LeaseVer, epoch)
	return x.apply(w, j, c, err)
}

// deliveries is what the network may bring about one lease.
func (x *explorer) deliveries(w world, s uint8, yield func(step, world, string)) {
	l := w.letters[s-1]
	d := w.agents[l.holder-1]
	if l.sent&offerSent != 0 && l.sent&startSent == 0 && d.phase == idle && d.inc == l.inc {
		do(w, step{takesOffer, l.holder, s}, yield, func(w *world) (bool, string) {
			w.agents[l.holder-1].phase, w.agents[l.holder-1].lease = waiting, s
			w.letters[s-1].sent |= startSent
			return true, ""
		})
	}
	current := d.registered == l.inc // calls of a superseded incarnation are refused
	if l.sent&startSent != 0 && current && w.hold == 0 {
		do(w, step{serverStart, 0, s}, yield, func(w *world) (bool, string) { return x.start(w, s) })
	}
	if l.sent&renewSent != 0 && current {
		do(w, step{serverRenew, 0, s}, yield, func(w *world) (bool, string) { return x.renew(w, s) })
	}
	if l.sent&resultSent != 0 {
		do(w, step{serverResult, 0, s}, yield, func(w *world) (bool, string) { return x.result(w, s) })
	}
}

func (x *explorer) start(w *world, s uint8) (bool, string) {
	j := x.job(w)
	c, answer, err := x.rules.start(j, x.id(w, s), epoch)
	if err != nil {
		return false, ""
	}
	switch answer {
	case qgjob.LeaseOK:
		w.letters[s-1].sent |= startOK
	case qgjob.LeaseCancel:
		w.letters[s-1].sent |= startCancel
	}
	if c.Job.Starts > j.Starts {
		w.acked |= bit(s)
	}
	return x.apply(w, j, c, nil)
}

func (x *explorer) renew(w *world, s uint8) (bool, string) {
	if w.now.job.ver > x.bounds.renews && w.now.job.lease == s {
		return false, ""
	}
	j, answer := x.rules.renew(x.job(w), x.id(w, s))
	switch answer {
	case qgjob.LeaseCancel:
		w.letters[s-1].sent |= renewCancel
	case qgjob.LeaseStale:
		w.letters[s-1].sent |= renewStale
	}
	x.keep(w, j)
	return true, ""
}

// result takes a result. An attempt that the server does not know (lost in a
// failover) is refused before the protocol is asked.
func (x *explorer) result(w *world, s uint8) (bool, string) {
	as := x.serial(w, x.id(w, s))
	if as == 0 {
		return false, ""
	}
	j, a, verdict := x.job(w), x.attempt(w, as), w.letters[s-1].verdict
	r := lease.Result{Outcome: outcomes[verdict], Digest: digests[verdict]}
	cur := w.now.job.lease
	c, err := x.rules.complete(j, a, r, epoch, 0)
	if a.Digest == r.Digest {
		if err != nil || c.Job != j || c.Attempt != nil {
			return true, x.first("a repeated result was not answered as the first time")
		}
		return false, ""
	}
	if a.Digest == "" && as == s && cur == s && j.State == qgjob.Queued && a.Outcome == qgjob.OutcomeLost {
		if err != nil {
			return true, x.first("rule 8: a result that would have saved a run was refused")
		}
		x.late++
	}
	happens, breach := x.apply(w, j, c, err)
	if !happens {
		return false, ""
	}
	w.now.attempts[as-1].digest = verdict
	if as != s || cur != s {
		return true, x.first(breach, fmt.Sprintf("I3: the result of lease %d was taken while %d was the newest", s, cur))
	}
	return true, breach
}
