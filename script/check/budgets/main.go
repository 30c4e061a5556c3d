// Command budgets measures the tree against the size and honesty limits of docs/ARCHITECTURE.md and leaves with 1 when one is broken.
//
// It reads every file that git tracks or would track. Line rules (not the figures) can be waived for one line by a comment
// "budget:allow REASON" at its end; the waivers are counted and shown.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run gives the exit code: 0 all within the limits, 1 a limit broken, 2 wrong usage or a tree that cannot be read.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("budgets", flag.ContinueOnError)
	flags.SetOutput(stderr)
	young := flags.Bool("young", false, "report the test:code ratios without failing on them")
	root := flags.String("root", ".", "folder of the git checkout")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	tree, err := readTree(*root)
	if err != nil {
		fmt.Fprintf(stderr, "budgets: %v\n", err)
		return 2
	}
	rows := measure(tree)
	if *young {
		forgiveRatios(rows)
	}
	if broken := printTable(stdout, rows); broken > 0 {
		fmt.Fprintf(stderr, "budgets: %d broken\n", broken)
		return 1
	}
	return 0
}
