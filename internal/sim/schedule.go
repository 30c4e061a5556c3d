package sim

import (
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes. Lost: the agent went away.
const (
	Done Outcome = "done"
	Lost Outcome = "lost"
)

// Attempt is one job on one agent, in seconds of the workload.
type Attempt struct {
	Job     int     `json:"job"`
	Agent   string  `json:"agent"`
	AtS     float64 `json:"at_s"`    // the agent takes the job; an install begins here
	BeginS  float64 `json:"begin_s"` // the test begins; EndS when it never did
	EndS    float64 `json:"end_s"`
	Outcome Outcome `json:"outcome"`
}

// Schedule is every attempt of a workload.
type Schedule struct {
	Attempts []Attempt `json:"attempts"`
}

// Schedule gives the attempts in the form that is written to files.
func (r *Result) Schedule() Schedule { return Schedule{Attempts: r.Attempts} }

// LoadSchedule reads a schedule; unknown members are an error.
func LoadSchedule(r io.Reader) (Schedule, error) {
	var s Schedule
	if err := json.UnmarshalRead(io.LimitReader(r, MaxWorkload), &s, json.RejectUnknownMembers(true)); err != nil {
		return Schedule{}, fmt.Errorf("schedule: %w", err)
	}
	return s, nil
}

// Write writes the schedule, one attempt a line.
func (s Schedule) Write(to io.Writer) error {
	if _, err := io.WriteString(to, `{"attempts":[`); err != nil {
		return err
	}
	for i, a := range s.Attempts {
		line, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("write schedule: %w", err)
		}
		if i > 0 {
			line = append([]byte{','}, line...)
		}
		if _, err := to.Write(append([]byte{'\n'}, line...)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(to, "\n]}\n")
	return err
}
