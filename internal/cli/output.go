package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/qualgent/qgjob"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The rules of output. The functions of this file are the only ones that
// print, so that the rules hold everywhere:
//
//   - stdout is the answer: a line, a table, or with --json one JSON value.
//   - stderr is everything else: "qgjob: …" in lower case, with a hint.
//   - Text of others (test names, failure messages) is cleaned before it is
//     shown: no escape sequence of a test reaches a terminal or a CI log.
//   - Escape sequences of our own go to terminals only, colours not under
//     NO_COLOR.

// The exit codes. --json never changes one.
const (
	exitPassed      = 0   // done; for waits: every job passed
	exitFailed      = 1   // a test failed or was cancelled
	exitUsage       = 2   // the command line, or the thing it names, is wrong
	exitInfra       = 3   // the server cannot be reached, or infrastructure broke jobs
	exitDenied      = 4   // not authorised
	exitRunning     = 8   // the wait ran out first
	exitInterrupted = 130 // Ctrl-C or SIGTERM
)

// exitOf is the one map from error kinds to exit codes.
var exitOf = map[qgjob.Kind]int{
	qgjob.KindInvalid:     exitUsage,
	qgjob.KindNotFound:    exitUsage,
	qgjob.KindConflict:    exitUsage,
	qgjob.KindDenied:      exitDenied,
	qgjob.KindUnavailable: exitInfra,
	qgjob.KindInternal:    exitInfra,
}

// verdict ends a command with a code after everything was said already.
type verdict int

// Error never shows: fail prints nothing for a verdict.
func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

func exitCode(err error) int {
	if err == nil {
		return exitPassed
	}
	if v, ok := errors.AsType[verdict](err); ok {
		return int(v)
	}
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if code, ok := exitOf[qgjob.KindOf(err)]; ok {
		return code
	}
	return exitInfra // an error is never a success
}

// printer holds the streams.
type printer struct {
	out, err       io.Writer
	outTTY, errTTY bool
	colours        bool  // allowed on terminals
	broken         error // the first write to stdout that did not succeed
}

func newPrinter(stdout, stderr io.Writer, env []string) *printer {
	m := envMap(env)
	log := onGitHub(m) // what looks like a terminal there is a file
	return &printer{
		out: stdout, err: stderr, outTTY: isTerminal(stdout) && !log, errTTY: isTerminal(stderr) && m["TERM"] != "dumb" && !log,
		colours: m["NO_COLOR"] == "" && m["TERM"] != "dumb",
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// isFile says that a stream goes into a file, byte for byte.
func isFile(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// width is how many columns the terminal behind a stream has; 100 without one.
func width(w io.Writer) int {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols >= 20 {
			return cols
		}
	}
	return 100
}

func (p *printer) write(text string) {
	if _, err := io.WriteString(p.out, text); err != nil && p.broken == nil {
		p.broken = fmt.Errorf("write the answer: %w", err)
	}
}

// Write prints bytes of an answer as they are: logs and reports, off
// terminals.
func (p *printer) Write(b []byte) (int, error) { return p.out.Write(b) }

// answer prints one line of the answer.
func (p *printer) answer(format string, a ...any) {
	p.write(inert(clean(fmt.Sprintf(format, a...))) + "\n")
}

// json prints the answer as one indented JSON value.
func (p *printer) json(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write the answer as JSON: %w", err)
	}
	p.write(disarmJSON.Replace(string(text)) + "\n")
	return nil
}

// disarmJSON writes what CI systems obey anywhere in a line in another way, for the same value.
var disarmJSON = strings.NewReplacer("##[", `#\u0023[`, "##vso[", `#\u0023vso[`)

// note prints one line for people to stderr.
func (p *printer) note(format string, a ...any) {
	fmt.Fprintf(p.err, "qgjob: %s\n", clean(fmt.Sprintf(format, a...)))
}

// command prints a line to stderr that a CI system obeys; whoever makes one has escaped what is in it. stdout is the answer's.
func (p *printer) command(line string) { fmt.Fprintln(p.err, line) }

// progressLine prints one line of a wait's progress to stderr, off a terminal.
func (p *printer) progressLine(l line) { fmt.Fprintln(p.err, l.text(paint{})) }

// fail prints an error as one line. A usage error names its flag.
func (p *printer) fail(cmd *cobra.Command, err error) {
	if _, said := errors.AsType[verdict](err); err == nil || said {
		return
	}
	if exitCode(err) == exitInterrupted {
		p.note("interrupted")
		return
	}
	text := err.Error()
	if e, ok := errors.AsType[*qgjob.Error](err); ok {
		doing, _ := strings.CutSuffix(text, e.Error())
		text = doing + explain(e)
		if flag := flagOf(cmd, e.Field); flag != "" && e.Kind == qgjob.KindInvalid && !strings.Contains(text, flag) {
			text = flag + ": " + text
		}
	}
	p.note("%s", text)
}

// explain is an error in one line: what happened, why, what to do.
func explain(e *qgjob.Error) string {
	text := e.Message
	for _, f := range e.Fields {
		if !strings.Contains(text, f.Message) {
			text += "; " + strings.TrimPrefix(f.Field+": "+f.Message, ": ")
		}
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// flags names the flag for a field of a request.
var flags = map[string]string{
	"test_path": "--test", "timeout_s": "--timeout", "labels": "--label", "bundle_sha256": "--bundle",
	"Idempotency-Key": "--idempotency-key", "token": "QGJOB_TOKEN",
}

var inJobs = regexp.MustCompile(`^(body\.)?jobs\[\d+\]\.`)

func flagOf(cmd *cobra.Command, field string) string {
	field = inJobs.ReplaceAllString(field, "")
	field, _, _ = strings.Cut(field, ".")
	if flag, ok := flags[field]; ok {
		return flag
	}
	name := strings.ReplaceAll(field, "_", "-")
	if cmd == nil || field == "" || cmd.Flag(name) == nil {
		return ""
	}
	return "--" + name
}

// table prints rows under a heading, in columns; other people's text is
// cleaned. On a terminal the heading is dim and states have their colours.
func (p *printer) table(heading []string, rows [][]string) {
	paint := p.paint(p.outTTY)
	widths := make([]int, len(heading))
	for _, row := range append([][]string{heading}, rows...) {
		for i := range row {
			row[i] = clean(row[i])
			widths[i] = max(widths[i], lipgloss.Width(row[i]))
		}
	}
	var b strings.Builder
	for n, row := range append([][]string{heading}, rows...) {
		line := ""
		for i, text := range row {
			shown := paint.state(text)
			if n == 0 {
				shown = paint.dim(text)
			}
			line += shown
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-lipgloss.Width(text)+2)
			}
		}
		b.WriteString(inert(strings.TrimRight(line, " ")) + "\n")
	}
	p.write(b.String())
}

// paint colours text, or leaves it alone.
type paint struct{ on bool }

func (p *printer) paint(terminal bool) paint { return paint{on: terminal && p.colours} }

var stateColours = map[string]string{
	"passed": "2", "failed": "1", "errored": "5", "cancelled": "3", "cancelling": "3", "flaky": "3",
	"running": "6", "assigned": "6", "idle": "2", "busy": "6", "draining": "3", "quarantined": "3", "offline": "1",
}

// state colours a word that is a state; other text stays as it is.
func (p paint) state(word string) string { return p.as(word, word) }

// as colours text like a state.
func (p paint) as(state, text string) string {
	colour, ok := stateColours[state]
	if !p.on || !ok {
		return text
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colour)).Render(text)
}

func (p paint) dim(text string) string {
	if !p.on {
		return text
	}
	return lipgloss.NewStyle().Faint(true).Render(text)
}

// screen is a region at the bottom of stderr's terminal that is drawn again
// and again, with lines above it that stay.
type screen struct {
	p     *printer
	drawn int
}

// draw replaces the region; keep are lines that stay above it.
func (s *screen) draw(keep, region []string) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.drawn)
	}
	for _, l := range append(append([]string{}, keep...), region...) {
		b.WriteString(l + "\n")
	}
	s.drawn = len(region)
	_, _ = io.WriteString(s.p.err, b.String())
}
