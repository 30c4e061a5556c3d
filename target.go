package qgjob

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Target is the sort of device that a job runs on.
type Target string

// The targets. Browser is a mobile-emulated Chromium and runs anywhere.
const (
	TargetEmulator     Target = "emulator"
	TargetDevice       Target = "device"
	TargetBrowserStack Target = "browserstack"
	TargetBrowser      Target = "browser"
)

// Targets lists every target, in the order in which messages name them.
var Targets = []Target{TargetEmulator, TargetDevice, TargetBrowserStack, TargetBrowser}

// ParseTarget reads a target; an unknown one is an invalid error that lists
// what is allowed.
func ParseTarget(s string) (Target, error) {
	if t := Target(s); slices.Contains(Targets, t) {
		return t, nil
	}
	names := make([]string, len(Targets))
	for i, t := range Targets {
		names[i] = string(t)
	}
	return "", Invalid("target", fmt.Sprintf("target %q is unknown; allowed: %s", clip(s, 64), strings.Join(names, ", ")))
}

// Priorities run from MinPriority to MaxPriority; higher is more urgent.
const (
	MinPriority     = 1
	MaxPriority     = 10
	DefaultPriority = 1
)

var priorityNames = map[string]int{"low": 1, "normal": 5, "high": 8, "urgent": 10}

// ParsePriority reads 1–10 or one of low (1), normal (5), high (8), urgent
// (10).
func ParsePriority(s string) (int, error) {
	if n, ok := priorityNames[s]; ok {
		return n, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, Invalid("priority", fmt.Sprintf("priority %q is not a whole number from %d to %d, nor low, normal, high or urgent", clip(s, 32), MinPriority, MaxPriority))
	}
	return n, CheckPriority(n)
}

// CheckPriority refuses a priority outside MinPriority–MaxPriority.
func CheckPriority(n int) error {
	if n < MinPriority || n > MaxPriority {
		return Invalid("priority", fmt.Sprintf("priority %d is out of range; allowed: %d to %d, higher is more urgent", n, MinPriority, MaxPriority))
	}
	return nil
}
