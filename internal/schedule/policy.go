package schedule

import (
	"fmt"
	"strings"
)

// Rule is how groups are chosen.
type Rule string

// The rules. Only RuleQgjob weighs installs; the others are what to compare it
// with.
const (
	RuleQgjob    Rule = "qgjob"
	RuleFIFO     Rule = "fifo"     // the oldest job, whatever its priority
	RulePriority Rule = "priority" // the highest priority, then the oldest job
	RulePin      Rule = "pin"      // a group is held by one agent until it is empty
)

// Rules lists every rule, in the order in which messages name them.
var Rules = []Rule{RuleQgjob, RuleFIFO, RulePriority, RulePin}

// ParseRule reads a rule's name.
func ParseRule(s string) (Rule, error) {
	names := make([]string, len(Rules))
	for i, r := range Rules {
		if string(r) == s {
			return r, nil
		}
		names[i] = string(r)
	}
	return "", fmt.Errorf("policy %q is unknown; allowed: %s", s, strings.Join(names, ", "))
}

// Policy is the rule and its numbers. All but the last four are in seconds of
// waiting, which is what a score is made of.
type Policy struct {
	Rule      Rule
	PerLevel  float64 // what one priority level is worth
	Affinity  float64 // what one second of install is worth
	Keep      float64 // what keeping the build that is on an agent is worth, against work of no higher priority
	Nearness  float64 // what one second less of remaining work, spread over all agents that could do it, is worth
	Nearest   float64 // the most that Nearness may cost a group
	Smallness float64 // waiting counts 1 + Smallness / (seconds the runs would take with the fleet to themselves)
	Tolerance float64 // an org's lag up to here is forgiven
	MaxWait   float64 // after it a head gets its org's highest priority
	Fairness  float64 // weight of an org's lag behind the one that used least
	Thrift    float64 // price of an install; higher means fewer installs and later results
	LoadShare float64 // runs that a fully loaded fleet is expected to add to those that pay for an install
}

// DefaultPolicy gives the rule with the numbers found by simulation; see
// docs/decisions/0003-scheduling.md.
func DefaultPolicy() Policy {
	return Policy{
		Rule: RuleQgjob, PerLevel: 900, Affinity: 20, Keep: 3000, Nearness: 7, Nearest: 1800, Smallness: 100,
		Tolerance: 200, MaxWait: 7200, Fairness: 8, Thrift: 2.6, LoadShare: 0.24,
	}
}

// urgency is 1.5^(prio-5): what a run of that priority counts for.
func urgency(prio int) float64 {
	return urgencies[max(0, min(prio, len(urgencies)-1))]
}

// urgencies are the powers for priorities 0 to 10, which spares a decision a
// thousand calls of math.Pow.
var urgencies = func() (u [11]float64) {
	for i := range u {
		u[i] = 1
		for n := i; n < 5; n++ {
			u[i] /= 1.5
		}
		for n := 5; n < i; n++ {
			u[i] *= 1.5
		}
	}
	return u
}()
