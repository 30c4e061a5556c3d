//go:build unix

package faults_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// diary is what the journal of the jobs tells: what really ran, when and
// where. It is read on from where the last reading ended.
type diary struct {
	path   string
	offset int64
	jobs   map[qgjob.JobID][]*execution // in the order of their begins
	open   map[string][]*execution      // by agent: begun and not ended
	faults []string                     // I4: two tests at once on one agent
}

// execution is one start of a test's program.
type execution struct {
	job        qgjob.JobID
	attempt    int
	agent      string
	begin, end time.Time // end is zero when it never came to its end
	overlapped bool      // another one began on its agent meanwhile
}

func newDiary(path string) *diary {
	return &diary{path: path, jobs: map[qgjob.JobID][]*execution{}, open: map[string][]*execution{}}
}

// read takes in the lines written since the last time.
func (d *diary) read() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(d.offset, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // half a line is read next time
			return nil
		}
		d.offset += int64(len(line))
		if err := d.take(strings.Fields(line)); err != nil {
			return fmt.Errorf("journal: %q: %w", line, err)
		}
	}
}

func (d *diary) take(w []string) error {
	if len(w) != 5 {
		return fmt.Errorf("%d words", len(w))
	}
	ms, err := strconv.ParseInt(w[1], 10, 64)
	if err != nil {
		return err
	}
	id, err := qgjob.ParseJobID(w[2])
	if err != nil {
		return err
	}
	attempt, err := strconv.Atoi(w[3])
	if err != nil {
		return err
	}
	at, agent := time.UnixMilli(ms), w[4]
	if w[0] == "begin" {
		for _, e := range d.open[agent] {
			e.overlapped = true
		}
		e := &execution{job: id, attempt: attempt, agent: agent, begin: at}
		d.jobs[id] = append(d.jobs[id], e)
		d.open[agent] = append(d.open[agent], e)
		return nil
	}
	for i, e := range d.open[agent] {
		if e.job != id || e.attempt != attempt {
			continue
		}
		e.end = at
		if e.overlapped { // what was killed never tells of its end
			d.faults = append(d.faults, fmt.Sprintf("I4: attempt %d of %s on %s went on while another test ran there", attempt, id, agent))
		}
		d.open[agent] = append(d.open[agent][:i:i], d.open[agent][i+1:]...)
		return nil
	}
	return fmt.Errorf("an end without a begin")
}

// elsewhere tells, for an agent process killed at an instant, how long it took
// until what ran on it ran again.
func (d *diary) elsewhere(k killed) []time.Duration {
	var out []time.Duration
	for _, list := range d.jobs {
		for i, e := range list[:len(list)-1] {
			here := e.agent == k.agent || strings.HasPrefix(e.agent, k.agent+"-")
			if next := list[i+1]; here && e.end.IsZero() && e.begin.Before(k.at) && next.begin.After(k.at) {
				out = append(out, next.begin.Sub(k.at))
			}
		}
	}
	return out
}
