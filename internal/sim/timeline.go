package sim

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// The measures of a timeline, in pixels.
const (
	labelWidth  = 150
	chartWidth  = 1200
	rowHeight   = 14
	rowGap      = 4
	chartTop    = 30
	chartMargin = 20
)

// colours of orgs, in turn. They are told apart by people who see no red or
// green (Okabe and Ito 2008); installs have a grey of their own.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"}

// WriteTimeline writes a schedule as one HTML page without outside parts:
// agents from top to bottom, time from left to right, installs in grey, tests
// in the colour of their org, lost attempts hollow. Pointing at a bar tells
// what it is. Names are escaped.
func WriteTimeline(to io.Writer, w *Workload, s Schedule) error {
	c := newChecker(w, s)
	until := 1.0
	for _, x := range c.attempts {
		until = math.Max(until, x.EndS)
	}
	rows := map[string]int{}
	for i, a := range w.Agents {
		rows[a.ID] = i
	}
	out := bufio.NewWriter(to)
	height := chartTop + len(w.Agents)*(rowHeight+rowGap) + chartMargin
	fmt.Fprintf(out, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%s: agents over time</title>
<style>body{font:13px sans-serif;margin:16px}svg text{font:11px sans-serif}.install{fill:#bbb}.lost{fill:none;stroke:#c00}.outage{fill:#fbe3e3}.key{display:inline-block;width:12px;height:12px;margin:0 4px 0 12px}</style></head>
<body><h1>%s</h1><p>%d jobs on %d agents.`, html.EscapeString(w.Name), html.EscapeString(w.Name), len(w.Jobs), len(w.Agents))
	fmt.Fprint(out, `<span class="key" style="background:#bbb"></span>install`)
	for i, o := range w.Orgs {
		fmt.Fprintf(out, `<span class="key" style="background:%s"></span>%s`, colours[i%len(colours)], html.EscapeString(o.ID))
	}
	fmt.Fprintf(out, "</p>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"agents over time\">\n", labelWidth+chartWidth+chartMargin, height)
	x := func(at float64) float64 { return labelWidth + chartWidth*at/until }
	grid(out, x, until, height)
	for i, a := range w.Agents {
		top := chartTop + i*(rowHeight+rowGap)
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-6, top+rowHeight-3, html.EscapeString(a.ID))
		for _, o := range a.Outages {
			if o[0] < until {
				bar(out, "outage", "", x(o[0]), x(math.Min(o[1], until)), top, fmt.Sprintf("%s away from %.0f s to %.0f s", a.ID, o[0], o[1]))
			}
		}
	}
	for _, at := range c.attempts {
		row, ok := rows[at.Agent]
		job, ok2 := c.jobNo[at.Job]
		if ok && ok2 {
			writeAttempt(out, w, c.ix, at, job, chartTop+row*(rowHeight+rowGap), x)
		}
	}
	fmt.Fprint(out, "</svg></body></html>\n")
	return out.Flush()
}

// grid draws a line at about ten round instants.
func grid(out io.Writer, x func(float64) float64, until float64, height int) {
	step := 1.0
	for _, s := range []float64{5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 86400, 7 * 86400, 30 * 86400} {
		if step = s; until/s <= 12 {
			break
		}
	}
	for at := 0.0; at <= until; at += step {
		fmt.Fprintf(out, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x(at), x(at), chartTop-6, height-chartMargin, x(at), chartTop-12, clock(at))
	}
}

// writeAttempt draws an attempt: its install, then its test.
func writeAttempt(out io.Writer, w *Workload, ix *index, at Attempt, job, top int, x func(float64) float64) {
	j := &w.Jobs[job]
	begin := math.Min(math.Max(at.BeginS, at.AtS), at.EndS)
	if begin > at.AtS {
		bar(out, "install", "", x(at.AtS), x(begin), top, fmt.Sprintf("install of %s %s: %s for %.0f s", j.Org, j.Version, clock(at.AtS), begin-at.AtS))
	}
	tip := fmt.Sprintf("job %d, %s of %s %s, run %s, priority %d: %s for %.0f s", j.ID, j.Test, j.Org, j.Version, j.Run, j.Priority, clock(begin), at.EndS-begin)
	class, fill := "", colours[ix.org[job]%len(colours)]
	if at.Outcome == Lost {
		class, fill, tip = "lost", "", "lost: "+tip
	}
	bar(out, class, fill, x(begin), x(at.EndS), top, tip)
}

func bar(out io.Writer, class, fill string, from, to float64, top int, tip string) {
	var b strings.Builder
	if class != "" {
		fmt.Fprintf(&b, ` class="%s"`, class)
	}
	if fill != "" {
		fmt.Fprintf(&b, ` fill="%s"`, fill)
	}
	fmt.Fprintf(out, `<rect x="%.2f" y="%d" width="%.2f" height="%d"%s><title>%s</title></rect>`+"\n", from, top, math.Max(0.3, to-from-0.2), rowHeight, b.String(), html.EscapeString(tip))
}

// clock writes seconds as h:mm:ss.
func clock(at float64) string {
	s := int(at)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
