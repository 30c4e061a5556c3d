package lease_test

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/lease"
)

// The explorer's world: one job, two agents, the server's record, a sweeper,
// and a network that keeps whatever was ever said. A message can be delivered
// at any later moment, in any order, any number of times, or never; so a set
// of sent messages is a network that loses, delays, reorders and duplicates.
//
// Everything is bytes, so that a world is its own key.

const (
	maxLeases = 4 // leases of the job in one history
	agents    = 2
)

// Messages about one lease, as bits of letters.sent.
const (
	offerSent uint8 = 1 << iota
	startSent
	startOK
	startCancel
	renewSent
	renewCancel
	renewStale
	resultSent
)

// letters is what was said about one lease; index 0 of world.letters is the
// first lease.
type letters struct {
	sent    uint8
	holder  uint8 // agent 1 or 2
	inc     uint8 // incarnation of the holder
	number  uint8 // the attempt's number, by which a wrong fence goes
	verdict uint8 // index in outcomes of the result, with resultSent
}

// record is the server's row of the job; lease and done are serials of leases
// from 1, 0 is none.
type record struct {
	state, lease, number, ver, agent, inc, started, starts, infra, tests, cancel, done, flaky uint8
}

// attempt is the server's row of one lease.
type attempt struct{ outcome, digest, known uint8 }

// server is what a server remembers.
type server struct {
	job      record
	attempts [maxLeases]attempt
}

// What an agent is doing.
const (
	idle uint8 = iota
	waiting
	busy
)

// device is one agent.
type device struct {
	phase, lease uint8
	inc          uint8 // of the process
	registered   uint8 // incarnation that the server knows
	orphan       uint8 // lease of a test that outlived its agent (rule 5)
}

// world is everything, and what may still be done to it.
type world struct {
	now, replica server // replica is what a failover goes back to
	letters      [maxLeases]letters
	agents       [agents]device

	offered                        uint8 // leases given so far, lost ones too
	sightLease, sightVer, sightRan uint8 // the sweeper is about to expire this
	acked                          uint8 // bit set of serials whose first start was acknowledged
	begun                          uint8 // bit set of serials whose test began
	ended                          uint8 // bit set of serials that the server ended as lost, timed out and the like
	failedOver, hold               uint8

	expiries, releases, crashes, cancels, timeouts, failovers uint8 // left to inject
}

// outcomes gives outcomes their numbers in the world.
var outcomes = []qgjob.Outcome{"", qgjob.OutcomePassed, qgjob.OutcomeFailed, qgjob.OutcomeErrored, qgjob.OutcomeCancelled,
	qgjob.OutcomeInterrupted, qgjob.OutcomeLost, qgjob.OutcomeReleased}

const (
	none uint8 = iota
	passed
	failed
	errored
	cancelled
	interrupted
	lost
	released
)

func outcomeNumber(o qgjob.Outcome) uint8 {
	for i, known := range outcomes {
		if o == known {
			return uint8(i)
		}
	}
	panic("unknown outcome " + string(o))
}

func stateNumber(s qgjob.JobState) uint8 {
	for i, known := range qgjob.JobStates {
		if s == known {
			return uint8(i)
		}
	}
	panic("unknown state " + string(s))
}

var agentNames = [agents + 1]qgjob.AgentID{"", "a", "b"}

func agentNumber(id qgjob.AgentID) uint8 {
	for i, known := range agentNames {
		if id == known {
			return uint8(i)
		}
	}
	panic("unknown agent " + string(id))
}

func asByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func bit(serial uint8) uint8 { return 1 << serial }

// epoch is the one instant of the world: the protocol itself measures no time
// but back-offs (none here: jitter is 0) and timeouts (which come long after).
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// job writes the record as the protocol reads it.
func (x *explorer) job(w *world) lease.Job {
	r := w.now.job
	return lease.Job{
		State: qgjob.JobStates[r.state], LeaseID: x.id(w, r.lease), LeaseNo: int(r.number), LeaseVer: int64(r.ver),
		Agent: agentNames[r.agent], Incarnation: int64(r.inc), Started: r.started == 1, Starts: int(r.starts), InfraFails: int(r.infra),
		TestAttempts: int(r.tests), MaxTestAttempts: x.bounds.tests, CancelRequested: r.cancel == 1, DoneLease: x.id(w, r.done), Flaky: r.flaky == 1,
		StartedAt: epoch, Timeout: time.Minute,
	}
}

// keep writes a job back into the record.
func (x *explorer) keep(w *world, j lease.Job) {
	w.now.job = record{
		state: stateNumber(j.State), lease: x.serial(w, j.LeaseID), number: uint8(j.LeaseNo), ver: uint8(j.LeaseVer), agent: agentNumber(j.Agent),
		inc: uint8(j.Incarnation), started: asByte(j.Started), starts: uint8(j.Starts), infra: uint8(j.InfraFails), tests: uint8(j.TestAttempts),
		cancel: asByte(j.CancelRequested), done: x.serial(w, j.DoneLease), flaky: asByte(j.Flaky),
	}
}

// id is the fence that messages about a serial carry.
func (x *explorer) id(w *world, serial uint8) qgjob.LeaseID {
	if serial == 0 {
		return ""
	}
	return x.rules.fence(serial, w.letters[serial-1].number)
}

// serial finds the newest lease of that fence that the server knows; 0 when
// it knows none.
func (x *explorer) serial(w *world, id qgjob.LeaseID) uint8 {
	for s := w.offered; s > 0; s-- {
		if w.now.attempts[s-1].known == 1 && x.id(w, s) == id {
			return s
		}
	}
	return 0
}

// attempt is the server's record of a lease as the protocol reads it.
func (x *explorer) attempt(w *world, serial uint8) lease.Attempt {
	a := w.now.attempts[serial-1]
	out := lease.Attempt{LeaseID: x.id(w, serial), Outcome: outcomes[a.outcome]}
	if a.digest != 0 {
		out.Digest = digests[a.digest]
	}
	return out
}

// digests gives every verdict its result's digest.
var digests = []string{"", "says passed", "says failed", "says errored", "says cancelled", "says interrupted"}

// begin is the world in which the job was just accepted.
func (x *explorer) begin() world {
	b := x.bounds
	w := world{expiries: b.expiries, releases: b.releases, crashes: b.crashes, cancels: b.cancels, timeouts: b.timeouts, failovers: b.failovers}
	for i := range w.agents {
		w.agents[i] = device{inc: 1, registered: 1}
	}
	return w
}

// wrong is what a world breaks of the invariants of LEASES.md, "" when it
// keeps them. What a single step breaks is found by apply.
func (x *explorer) wrong(w *world) string {
	j, state := w.now.job, qgjob.JobStates[w.now.job.state]
	var i4, i5, i6, i8, books string
	if live := x.liveAttempts(w); live > 1 || (live == 1) != state.Leased() {
		i4 = fmt.Sprintf("I4: %d attempts go on while the job is %s", live, state)
	}
	if j.cancel == 1 && state != qgjob.Cancelling && state != qgjob.Cancelled {
		i5 = fmt.Sprintf("I5: cancel was acknowledged and the job is %s", state)
	}
	if state == qgjob.Errored && (j.infra != qgjob.MaxInfraFails || j.starts < j.infra) {
		i6 = fmt.Sprintf("I6: errored after %d starts and %d infrastructure failures", j.starts, j.infra)
	}
	if int(j.tests) > x.bounds.tests || j.infra > qgjob.MaxInfraFails || j.tests+j.infra > j.starts {
		i8 = fmt.Sprintf("I8: %d test and %d infrastructure attempts burnt by %d starts", j.tests, j.infra, j.starts)
	}
	if w.failedOver == 0 {
		books = x.wrongBooks(w)
	}
	return x.first(i4, i5, i6, i8, x.wrongVerdict(w, state), x.wrongTests(w), books)
}

func (x *explorer) liveAttempts(w *world) (n int) {
	for _, a := range w.now.attempts {
		if a.known == 1 && a.outcome == none {
			n++
		}
	}
	return n
}

// wrongVerdict: a verdict is the newest lease's, of a test that really ran.
func (x *explorer) wrongVerdict(w *world, state qgjob.JobState) string {
	want := map[qgjob.JobState]uint8{qgjob.Passed: passed, qgjob.Failed: failed}[state]
	if want == none {
		return ""
	}
	done, newest := w.now.job.done, uint8(0)
	for i, a := range w.now.attempts {
		if a.known == 1 {
			newest = uint8(i) + 1
		}
	}
	switch {
	case w.now.job.starts == 0:
		return fmt.Sprintf("I12: %s without a start", state)
	case done == 0 || done != newest:
		return fmt.Sprintf("I3: %s by lease %d while the newest is %d", state, done, newest)
	case w.begun&bit(done) == 0 && w.now.attempts[done-1].digest != none:
		return fmt.Sprintf("I3: %s by a test that never ran", state)
	case w.now.attempts[done-1].digest != want && !(want == failed && w.now.attempts[done-1].digest == none):
		return fmt.Sprintf("I3: %s by a result that %s", state, digests[w.now.attempts[done-1].digest])
	case (w.now.job.flaky == 1) != (state == qgjob.Passed && w.now.job.tests > 0):
		return "flaky is wrong"
	}
	return ""
}

// wrongTests: what runs on the devices. A test runs only after its start was
// acknowledged; a second one beside it only when the first lease was ended.
func (x *explorer) wrongTests(w *world) string {
	unasked, running, kept := "", 0, 0
	if w.begun&^w.acked != 0 {
		unasked = "I12: a test runs whose start nobody acknowledged"
	}
	for i := range w.agents {
		here := 0
		for _, serial := range x.tests(&w.agents[i]) {
			here++
			if w.ended&bit(serial) == 0 {
				kept++
			}
		}
		if here > 1 {
			return fmt.Sprintf("I4: agent %s runs %d tests at once", agentNames[i+1], here)
		}
		running += here
	}
	if running > 1 && kept == running {
		return x.first(unasked, "I12: the test runs twice at once and no lease was lost")
	}
	return unasked
}

// tests lists the leases whose tests run on a device.
func (x *explorer) tests(d *device) (serials []uint8) {
	if d.phase == busy {
		serials = append(serials, d.lease)
	}
	if d.orphan != 0 {
		serials = append(serials, d.orphan)
	}
	return serials
}

// wrongBooks: starts are counted once, each budget is what its attempts burnt,
// and another start comes only after the one before has ended.
func (x *explorer) wrongBooks(w *world) string {
	j := w.now.job
	if int(j.starts) != bits.OnesCount8(w.acked) {
		return fmt.Sprintf("starts: %d counted, %d acknowledged", j.starts, bits.OnesCount8(w.acked))
	}
	var burnt [8]uint8
	for s := uint8(1); s <= w.offered; s++ {
		a := w.now.attempts[s-1]
		burnt[a.outcome]++
		if ran := w.acked&bit(s) != 0; ran && a.outcome == released {
			return "I8: a started attempt was released without a trace"
		}
		if a.outcome == none && s != w.offered {
			return fmt.Sprintf("I12: lease %d goes on while %d was given", s, w.offered)
		}
	}
	infra := burnt[lost] + burnt[errored]
	if j.cancel == 0 && (j.infra != infra || j.tests != burnt[failed]) {
		return fmt.Sprintf("I8: budgets burnt %d infrastructure, %d test; attempts say %d, %d", j.infra, j.tests, infra, burnt[failed])
	}
	return ""
}
