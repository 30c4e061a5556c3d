//go:build unix

package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/qualgent/qgjob"
)

// ask is one call about one job.
type ask struct {
	what    string // submit, claim, start, complete, cancel, status
	job     qgjob.JobID
	lease   qgjob.LeaseID
	outcome qgjob.Outcome
	digest  string
}

// answer is what came back.
type answer struct {
	unknown bool   // nothing: it may have been done, be done later, or never
	refused bool   // a conflict
	says    string // the state, or the answer of a start; empty: not looked at
}

// jobModel is what one job may look like from outside, as if one server did
// one thing after the other: the protocol in a page, written anew and not
// taken from internal/lease.
type jobModel struct {
	state qgjob.JobState // empty before its submit
	lease qgjob.LeaseID
	ended string // "lease=digest;" for each attempt that ended with a result
}

func (s jobModel) digestOf(l qgjob.LeaseID) string {
	_, rest, _ := strings.Cut(s.ended, string(l)+"=")
	digest, _, _ := strings.Cut(rest, ";")
	return digest
}

// step does a call: the state after it, and what it answers.
func (s jobModel) step(a ask) (jobModel, answer) {
	no := answer{refused: true}
	held := s.lease != "" && s.lease == a.lease && s.state.Leased()
	switch a.what {
	case "submit":
		if s.state == "" {
			s.state = qgjob.Queued
		}
		return s, answer{}
	case "claim":
		if s.state != qgjob.Queued {
			return s, no
		}
		s.state, s.lease = qgjob.Assigned, a.lease
		return s, answer{}
	case "start":
		switch {
		case !held:
			return s, no
		case s.state == qgjob.Cancelling:
			return s, answer{says: string(qgjob.LeaseCancel)}
		}
		s.state = qgjob.Running
		return s, answer{says: string(qgjob.LeaseOK)}
	case "cancel":
		switch {
		case s.state.Terminal() || s.state == "":
			return s, no
		case s.state == qgjob.Queued:
			s.state = qgjob.Cancelled
		default:
			s.state = qgjob.Cancelling
		}
		return s, answer{}
	case "complete":
		return s.complete(a, held)
	}
	return s, answer{says: string(s.state)}
}

func (s jobModel) complete(a ask, held bool) (jobModel, answer) {
	if was := s.digestOf(a.lease); was != "" {
		if was == a.digest {
			return s, answer{says: string(s.state)}
		}
		return s, answer{refused: true}
	}
	back := a.outcome == qgjob.OutcomeInterrupted
	switch {
	case !held, s.state == qgjob.Assigned && !back:
		return s, answer{refused: true}
	case s.state == qgjob.Cancelling:
		s.state = qgjob.Cancelled
	case back:
		s.state, s.lease = qgjob.Queued, ""
	default:
		s.state = qgjob.JobState(a.outcome)
	}
	s.ended += string(a.lease) + "=" + a.digest + ";"
	return s, answer{says: string(s.state)}
}

// fits tells whether an answer may be given where the model gives another.
func (got answer) fits(want answer) bool {
	return got.refused == want.refused && (got.says == "" || want.says == "" || got.says == want.says)
}

var linear = porcupine.NondeterministicModel{
	Init: func() []any { return []any{jobModel{}} },
	Step: func(state, input, output any) []any {
		s, got := state.(jobModel), output.(answer)
		next, want := s.step(input.(ask))
		switch {
		case got.unknown && next == s:
			return []any{s}
		case got.unknown:
			return []any{s, next}
		case got.fits(want):
			return []any{next}
		}
		return nil
	},
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byJob := map[qgjob.JobID][]porcupine.Operation{}
		for _, o := range history {
			id := o.Input.(ask).job
			byJob[id] = append(byJob[id], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byJob {
			parts = append(parts, part)
		}
		return parts
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

// describe is a job's history in the order of its calls.
func describe(history []porcupine.Operation) string {
	list := slices.Clone(history)
	slices.SortFunc(list, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range list {
		fmt.Fprintf(&b, "%12d %12d client %d: %s\n", o.Call, o.Return, o.ClientId, linear.DescribeOperation(o.Input, o.Output))
	}
	return b.String()
}

// TestHistoriesThatMustBeRefused: the checker finds each of these wrong, and
// would find none of the faults below if it did not.
func TestHistoriesThatMustBeRefused(t *testing.T) {
	type step struct {
		ask
		answer
	}
	submit, yes := step{ask{what: "submit"}, answer{}}, answer{}
	claim := func(l qgjob.LeaseID) step { return step{ask{what: "claim", lease: l}, yes} }
	start := func(l qgjob.LeaseID, says string) step {
		return step{ask{what: "start", lease: l}, answer{says: says, refused: says == ""}}
	}
	complete := func(l qgjob.LeaseID, o qgjob.Outcome, says string) step {
		return step{ask{what: "complete", lease: l, outcome: o, digest: "of " + string(l) + string(o)}, answer{says: says, refused: says == ""}}
	}
	status := func(s qgjob.JobState) step { return step{ask{what: "status"}, answer{says: string(s)}} }
	cancel := step{ask{what: "cancel"}, yes}
	maybe := func(s step) step { s.answer = answer{unknown: true}; return s }
	for name, test := range map[string]struct {
		ok    bool
		steps []step
	}{
		"a life":                        {true, []step{submit, claim("l1"), start("l1", "ok"), complete("l1", "passed", "passed"), status("passed")}},
		"given back":                    {true, []step{submit, claim("l1"), start("l1", "ok"), complete("l1", "interrupted", "queued"), claim("l2"), start("l1", "")}},
		"cancelled":                     {true, []step{submit, claim("l1"), cancel, start("l1", "cancel"), complete("l1", "passed", "cancelled"), status("cancelled")}},
		"an unknown start that was":     {true, []step{submit, claim("l1"), maybe(start("l1", "ok")), status("running")}},
		"an unknown start that was not": {true, []step{submit, claim("l1"), maybe(start("l1", "ok")), status("assigned")}},
		"claimed twice":                 {false, []step{submit, claim("l1"), claim("l2")}},
		"a stale result":                {false, []step{submit, claim("l1"), start("l1", "ok"), complete("l1", "interrupted", "queued"), claim("l2"), start("l2", "ok"), complete("l1", "failed", "failed")}},
		"two results":                   {false, []step{submit, claim("l1"), start("l1", "ok"), complete("l1", "passed", "passed"), complete("l1", "failed", "failed")}},
		"a result without a start":      {false, []step{submit, claim("l1"), complete("l1", "passed", "passed")}},
		"a pass after a cancel":         {false, []step{submit, claim("l1"), start("l1", "ok"), cancel, complete("l1", "passed", "passed")}},
		"back from the end":             {false, []step{submit, claim("l1"), start("l1", "ok"), complete("l1", "passed", "passed"), status("running")}},
		"an old read":                   {false, []step{submit, claim("l1"), status("queued")}},
		"lost":                          {false, []step{submit, status("")}},
		"an unknown start undone":       {false, []step{submit, claim("l1"), maybe(start("l1", "ok")), status("running"), status("assigned")}},
	} {
		var history []porcupine.Operation
		for i, s := range test.steps {
			o := porcupine.Operation{Input: s.ask, Output: s.answer, Call: int64(2 * i), Return: int64(2*i + 1)}
			if s.unknown {
				o.Return = endOfTime
			}
			history = append(history, o)
		}
		if s := test.steps[len(test.steps)-1]; name == "lost" && s.says == "" {
			history[len(history)-1].Output = answer{says: "none"}
		}
		if got := porcupine.CheckOperations(linear.ToModel(), history); got != test.ok {
			t.Errorf("%s: linearizable %v, want %v\n%s", name, got, test.ok, describe(history))
		}
	}
}
