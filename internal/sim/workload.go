package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxWorkload is the largest workload file that Load reads, in bytes.
const MaxWorkload = 256 << 20

// Workload is a fleet and the jobs that arrive at it.
type Workload struct {
	Name    string    `json:"name"`
	Orgs    []Org     `json:"orgs"`
	Agents  []Agent   `json:"agents"`
	Apps    []App     `json:"apps"`
	History []History `json:"history,omitempty"`
	Jobs    []Job     `json:"jobs"`
}

// Org is a tenant. A victim is one that another org's flood must not hurt: its
// slowdown is measured apart.
type Org struct {
	ID     string  `json:"id"`
	Weight float64 `json:"weight"`
	Victim bool    `json:"victim,omitempty"`
}

// Agent is one device slot.
type Agent struct {
	ID            string            `json:"id"`
	Labels        map[string]string `json:"labels"`
	Speed         float64           `json:"speed"`          // a test takes duration_s / speed
	InstallFactor float64           `json:"install_factor"` // an install takes install_s * install_factor
	SharedInstall bool              `json:"shared_install"` // one upload per app serves all such agents
	Outages       [][2]float64      `json:"outages,omitempty"`
}

// App is an app version and what installing it takes.
type App struct {
	Org      string  `json:"org"`
	Version  string  `json:"version"`
	InstallS float64 `json:"install_s"`
}

// History is what is known of a test when the workload starts.
type History struct {
	Org   string  `json:"org"`
	Test  string  `json:"test"`
	N     int     `json:"n"`      // observations
	MeanS float64 `json:"mean_s"` // their mean
}

// Job is one test of one run. Jobs of equal run and at_s are one submission.
type Job struct {
	ID        int               `json:"id"`
	AtS       float64           `json:"at_s"`
	Run       string            `json:"run"`
	Org       string            `json:"org"`
	Version   string            `json:"version"`
	Requires  map[string]string `json:"requires"`
	Test      string            `json:"test"`
	Priority  int               `json:"priority"`
	DurationS float64           `json:"duration_s"` // on an agent of speed 1; no policy sees it before the job ended
}

// Load reads a workload and checks it whole. A member that is unknown, twice
// there, of the wrong type or out of range is an error that says where: line,
// place and field.
func Load(r io.Reader) (*Workload, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxWorkload+1))
	if err != nil {
		return nil, fmt.Errorf("read workload: %w", err)
	}
	if len(text) > MaxWorkload {
		return nil, fmt.Errorf("workload is larger than %d MiB", MaxWorkload>>20)
	}
	w := &Workload{}
	if err := json.Unmarshal(text, w, json.RejectUnknownMembers(true)); err != nil {
		return nil, decodeError(text, err)
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	return w, nil
}

// Write writes the workload in the format that Load reads, one record a line.
func (w *Workload) Write(to io.Writer) error {
	text, err := json.Marshal(w, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write workload: %w", err)
	}
	text = bytes.ReplaceAll(text, []byte(`},{"`), []byte("},\n{\""))
	_, err = to.Write(append(text, '\n'))
	return err
}

func decodeError(text []byte, err error) error {
	var meaning *json.SemanticError
	var form *jsontext.SyntacticError
	switch {
	case errors.As(err, &form):
		return fmt.Errorf("workload line %d, %s: %w", lineOf(text, form.ByteOffset), placeOf(form.JSONPointer), form.Err)
	case errors.As(err, &meaning):
		why := meaning.Err
		if why == nil {
			why = fmt.Errorf("a JSON %v does not fit here, %v is wanted", meaning.JSONKind, meaning.GoType)
		}
		return fmt.Errorf("workload line %d, %s: %w", lineOf(text, meaning.ByteOffset), placeOf(meaning.JSONPointer), why)
	}
	return fmt.Errorf("workload: %w", err)
}

func lineOf(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(0, int(offset)), len(text))], []byte("\n"))
}

// placeOf writes a JSON pointer the way people write places: jobs[3].at_s.
func placeOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	if b.Len() == 0 {
		return "top level"
	}
	return b.String()
}
