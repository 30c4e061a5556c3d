package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestParentOf(t *testing.T) {
	for line, want := range map[string]int{
		"17 (sleep) S 5 17 17 0":      5,
		"17 (a b) S 5 17":             5,
		"17 (evil) S 9 (x) R 5 17 17": 5,
		"17 (((()))) S 5 1":           5,
		"":                            0,
		"17 (sleep) S":                0,
		"17 (sleep) S x 1":            0,
		")":                           0,
	} {
		if got := parentOf(line); got != want {
			t.Errorf("%q: got %d, want %d", line, got, want)
		}
	}
}

func FuzzParentOf(f *testing.F) {
	f.Add("17 (sleep) S 5 17 17 0")
	f.Add("17 (a) b) S 5")
	f.Fuzz(func(t *testing.T, line string) { parentOf(line) })
}

func TestChildrenAreSeen(t *testing.T) {
	c := helper(t, "stubborn")
	cmd := &exec.Cmd{Path: c.Argv[0], Args: c.Argv, Env: c.Env}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := children(); !slices.Equal(got, []int{cmd.Process.Pid}) {
		t.Errorf("children %v, want %d", got, cmd.Process.Pid)
	}
	if got := childrenOf(os.Getpid()); !slices.Contains(got, cmd.Process.Pid) {
		t.Errorf("children of this process %v", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	noChildren(t)
}
