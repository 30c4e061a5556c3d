package proc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestResultInWords(t *testing.T) {
	byHand := errors.New("cancelled by hand")
	for want, r := range map[string]Result{
		"exited with code 3":                                {End: Exited, ExitCode: 3},
		"died by SIGSEGV, not sent by the agent":            {End: Signalled, ExitCode: -1, Signal: "SIGSEGV"},
		"died by SIGKILL, not sent by the agent: init gone": {End: Signalled, Signal: "SIGKILL", Err: errors.New("init gone")},
		"stopped by SIGINT (cancelled by hand)":             {End: Stopped, OursSignal: true, Signal: "SIGINT", Cause: byHand},
		"stopped by SIGKILL":                                {End: Stopped, OursSignal: true, Signal: "SIGKILL"},
		"stopped, exit code 130 (cancelled by hand)":        {End: Stopped, OursSignal: true, ExitCode: 130, Cause: byHand},
		"stopped before it started (cancelled by hand)":     {End: Stopped, ExitCode: -1, Cause: byHand},
		"not started: no such thing":                        {End: NotStarted, Err: errors.New("no such thing")},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Only one of all the shapes is a pass; the zero Result is none.
func TestOnlyExitZeroPasses(t *testing.T) {
	passes := 0
	for _, end := range []End{NotStarted, Exited, Signalled, Stopped} {
		for _, code := range []int{-1, 0, 1} {
			for _, err := range []error{nil, errors.New("x")} {
				r := Result{End: end, ExitCode: code, Err: err}
				if r.Passed() {
					passes++
					if end != Exited || code != 0 || err != nil {
						t.Errorf("%+v passed", r)
					}
				}
			}
		}
	}
	if passes != 1 {
		t.Errorf("%d shapes pass", passes)
	}
}

func TestWords(t *testing.T) {
	var said []string
	for e := NotStarted; e <= Stopped+1; e++ {
		said = append(said, e.String())
	}
	for i := IsolationAuto; i <= IsolationProcessGroup+1; i++ {
		said = append(said, i.String())
	}
	want := []string{"not started", "exited", "signalled", "stopped", "end(4)", "auto", "pid-namespace", "process-group", "isolation(3)"}
	if !slices.Equal(said, want) {
		t.Errorf("got %q", said)
	}
}

func TestOnceSaysEachTextOnce(t *testing.T) {
	var said []string
	warn := Once(func(s string) { said = append(said, s) })
	for _, s := range []string{"a", "b", "a", "a", "b"} {
		warn(s)
	}
	if !slices.Equal(said, []string{"a", "b"}) {
		t.Errorf("said %q", said)
	}
}

func TestLastValueWins(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"A=1 B=2", "A=1 B=2"},
		{"A=1 B=2 A=3", "A=3 B=2"},
		{"A=1 A= A=x=y", "A=x=y"},
		{"odd A=1 odd", "odd A=1 odd"},
	} {
		if got := strings.Join(lastWins(strings.Fields(test.in)), " "); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
	}
}
