package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printTable writes the table and what lies behind its figures, and gives the number of broken rows.
func printTable(w io.Writer, rows []row) int {
	broken := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "budget\tfigure\tlimit\t")
	for _, r := range rows {
		verdict := "ok"
		switch {
		case r.broken:
			verdict = "BROKEN"
			broken++
		case r.note != "":
			verdict = r.note
		}
		if len(r.waived) > 0 {
			verdict += fmt.Sprintf(" (%d allowed)", len(r.waived))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.name, r.figure, r.limit, verdict)
	}
	table.Flush()
	for _, r := range rows {
		for _, at := range r.list {
			fmt.Fprintf(w, "%s:%d: %s\n", at.path, at.line, at.what)
		}
		for _, at := range r.waived {
			fmt.Fprintf(w, "%s:%d: allowed: %s\n", at.path, at.line, at.what)
		}
	}
	return broken
}
