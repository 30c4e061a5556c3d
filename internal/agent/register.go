package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// identity is an agent's name on this machine: a lock that makes it one
// process's, and an incarnation number that only rises.
type identity struct {
	lock        *disk.Lock
	dir         string
	incarnation int64
}

type incarnationFile struct {
	Incarnation int64 `json:"incarnation"`
}

// claimIdentity makes this process the agent and counts its incarnation up.
// The count starts at the clock, so that an agent whose state was wiped still
// comes after what the server remembers of it; the disk keeps it rising when
// the clock does not.
func claimIdentity(stateDir string, id qgjob.AgentID, now time.Time) (*identity, error) {
	dir := filepath.Join(stateDir, "agents", folderFor(id))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	lock, err := disk.TryLock(filepath.Join(dir, "lock"))
	if held, ok := errors.AsType[*disk.HeldError](err); ok {
		return nil, taken(id, stateDir, held)
	}
	if err != nil {
		return nil, err
	}
	me := &identity{lock: lock, dir: dir}
	if me.incarnation, err = nextIncarnation(filepath.Join(dir, "incarnation"), now); err != nil {
		return nil, errors.Join(fmt.Errorf("agent %s: %w", id, err), lock.Unlock())
	}
	return me, nil
}

func taken(id qgjob.AgentID, stateDir string, held *disk.HeldError) error {
	who := "another process"
	if held.PID != 0 {
		who = fmt.Sprintf("process %d", held.PID)
	}
	return &qgjob.Error{Kind: qgjob.KindConflict, Field: "name", Err: held,
		Message: fmt.Sprintf("agent %s is served by %s already, with the state in %s", id, who, stateDir),
		Hint:    "choose another --name or --state-dir, or stop that process"}
}

func nextIncarnation(path string, now time.Time) (int64, error) {
	var last incarnationFile
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("read incarnation: %w", err)
	default:
		if err := json.Unmarshal(text, &last); err != nil {
			return 0, fmt.Errorf("read incarnation: %s is damaged (%w): remove it", path, err)
		}
	}
	next := incarnationFile{max(last.Incarnation+1, now.UnixMilli())}
	if text, err = json.Marshal(next); err != nil {
		return 0, err
	}
	return next.Incarnation, disk.Replace(path, text)
}

// register announces the slot and takes over the server's timing. It waits
// for a server that is away.
func (s *slot) register(ctx context.Context) error {
	h := s.host
	req := qgjob.RegisterRequest{
		Incarnation: s.me.incarnation,
		Target:      h.Target,
		Labels:      s.labels,
		Runner:      h.runner.Name(),
		Host:        h.Host,
		Version:     h.Version,
		Installed:   s.installed.Load(),
		Quarantine:  s.sick.Load(),
	}
	res, err := patiently(ctx, s, "register", 0, func(ctx context.Context) (qgjob.RegisterResponse, error) {
		return s.server.Register(ctx, s.id, req)
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", s.id, s.explain(err))
	}
	s.setTiming(res.Timing)
	s.log.Info("registered", "incarnation", s.me.incarnation)
	return nil
}

// explain adds what to do to a refusal that ends the slot.
func (s *slot) explain(err error) error {
	if qgjob.CodeOf(err) != qgjob.CodeAgentSuperseded {
		return err
	}
	return &qgjob.Error{Kind: qgjob.KindConflict, Code: qgjob.CodeAgentSuperseded, Field: "name", Err: err,
		Message: fmt.Sprintf("agent %s stops: another process has registered under this name after it", s.id),
		Hint:    "give every agent a --name of its own"}
}
