package qgjob

import "fmt"

// Reset is how much of the app's past a job's tests may see.
type Reset string

// The resets. Only devices with an app of their own (emulator, device) tell
// them apart: every browser test starts clean.
const (
	ResetClear     Reset = "clear"     // the app's data is cleared before each test; the default
	ResetKeep      Reset = "keep"      // tests find what the last one left
	ResetReinstall Reset = "reinstall" // the app is installed anew for the job, then cleared before each test
)

// DefaultReset is what a job gets that does not say.
const DefaultReset = ResetClear

// ParseReset refuses a word that is no reset.
func ParseReset(s string) (Reset, error) {
	switch r := Reset(s); r {
	case ResetClear, ResetKeep, ResetReinstall:
		return r, nil
	}
	return "", Invalid("reset", fmt.Sprintf("reset %q is unknown; allowed: clear, keep, reinstall", s))
}
