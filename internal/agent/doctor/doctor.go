// Package doctor says whether tests can run on this machine before an agent
// takes jobs: it gathers facts, holds them against what is known to go wrong,
// and names the fix for each.
//
// It imports the agent's adb, apk, appium, device, proc and runner.
package doctor

import (
	"slices"

	"github.com/qualgent/qgjob"
)

// Level is how a finding stands.
type Level string

// The levels. Tests can run unless something is LevelFail.
const (
	LevelOK   Level = "ok"
	LevelWarn Level = "warn" // works, and will hurt some day
	LevelFail Level = "fail" // tests cannot run
)

// Finding is the result of one check.
type Finding struct {
	Check   string `json:"check"` // a stable word
	Level   Level  `json:"level"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"` // what to do; empty for LevelOK
}

// Report is what the doctor found.
type Report struct {
	Target   qgjob.Target `json:"target"`
	Runner   string       `json:"runner"`
	Device   string       `json:"device"`
	Ready    bool         `json:"ready"` // tests can run
	Findings []Finding    `json:"findings"`
}

// Diagnose holds facts against every check.
func Diagnose(f Facts) Report {
	r := Report{Target: f.Target, Runner: f.Runner, Device: f.Device, Ready: true, Findings: []Finding{}}
	for _, check := range checks {
		r.Findings = append(r.Findings, check(f)...)
	}
	r.Ready = !slices.ContainsFunc(r.Findings, func(x Finding) bool { return x.Level == LevelFail })
	return r
}

func ok(check, message string) []Finding { return []Finding{{check, LevelOK, message, ""}} }

func warn(check, message, fix string) []Finding { return []Finding{{check, LevelWarn, message, fix}} }

func fail(check, message, fix string) []Finding { return []Finding{{check, LevelFail, message, fix}} }
