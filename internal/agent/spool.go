package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// spoolKeep is how long a result that nobody takes is kept and offered.
const spoolKeep = 7 * 24 * time.Hour

// spool keeps finished results until the server has them. A result in it
// survives the agent, however it ends.
type spool struct {
	dir   string
	log   *slog.Logger
	since int // results kept since the last look at how many there are; the claim loop's
}

// spooled is a finished attempt.
type spooled struct {
	LeaseID   qgjob.LeaseID         `json:"lease_id"`
	JobID     qgjob.JobID           `json:"job_id"`
	At        time.Time             `json:"at"`
	Complete  qgjob.CompleteRequest `json:"complete"`
	Artifacts []artifact            `json:"artifacts"`
}

func openSpool(dir string, log *slog.Logger) (*spool, error) {
	return &spool{dir: dir, log: log}, errors.Join(os.MkdirAll(filepath.Join(dir, "damaged"), 0o700), os.MkdirAll(filepath.Join(dir, "kept"), 0o700))
}

// put makes a result safe. It must come before the result is offered.
func (s *spool) put(e spooled) error {
	if _, err := qgjob.ParseLeaseID(string(e.LeaseID)); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return disk.Replace(s.path(e.LeaseID), text)
}

// remove forgets a result that the server has, or does not want.
func (s *spool) remove(id qgjob.LeaseID) error { return disk.Remove(s.path(id)) }

// list gives what is kept, oldest first. A file that cannot be read is set
// aside for people; one older than spoolKeep is dropped.
func (s *spool) list(now time.Time) ([]spooled, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var out []spooled
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok {
			continue
		}
		e, err := s.read(qgjob.LeaseID(name))
		switch {
		case err != nil:
			s.setAside(entry.Name(), err)
		case now.Sub(e.At) > spoolKeep:
			s.log.Error("drops a result that no server took for a week", "job", e.JobID, "lease", e.LeaseID, "outcome", e.Complete.Outcome)
			if err := s.remove(e.LeaseID); err != nil {
				return nil, err
			}
		default:
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b spooled) int { return a.At.Compare(b.At) })
	return out, nil
}

func (s *spool) read(id qgjob.LeaseID) (spooled, error) {
	var e spooled
	text, err := os.ReadFile(s.path(id))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, err
	}
	if _, err := qgjob.ParseLeaseID(string(e.LeaseID)); err != nil || e.LeaseID != id {
		return e, fmt.Errorf("it names the lease %q", e.LeaseID)
	}
	return e, nil
}

// setAside moves a damaged file, or a result that the server refuses as
// malformed, to where people can look at it.
func (s *spool) setAside(name string, why error) {
	s.log.Error("sets a spooled result aside", "file", filepath.Join(s.dir, "damaged", name), "error", why)
	err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, "damaged", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("set aside", "error", err)
	}
}

func (s *spool) path(id qgjob.LeaseID) string { return filepath.Join(s.dir, string(id)+".json") }
