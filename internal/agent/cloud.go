package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
	"github.com/qualgent/qgjob/internal/agent/device"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

const (
	// fullPause is how often a plan without a free session is looked at again.
	fullPause = 5 * time.Second
	// admitTime is how long an offer waits for a session before it goes back.
	admitTime = 5 * time.Second
)

// cloud is what the slots of a host share of BrowserStack.
type cloud struct {
	client  *browserstack.Client
	uploads *browserstack.Uploads
	gate    *browserstack.Gate
	secrets browserstack.Secrets
}

func newCloud(c Config) (*cloud, error) {
	client := c.Cloud
	if client == nil {
		account, err := browserstack.FromEnv(os.Getenv)
		if err != nil {
			return nil, err
		}
		if client, err = browserstack.New(account, "", nil); err != nil {
			return nil, err
		}
	}
	uploads, err := browserstack.NewUploads(client, filepath.Join(c.StateDir, "browserstack"))
	if err != nil {
		return nil, fmt.Errorf("state-dir: %w", err)
	}
	return &cloud{client: client, uploads: uploads, gate: browserstack.NewGate(client.Plan), secrets: browserstack.NewSecrets(client.Account())}, nil
}

// planSlots is how many agents the plan feeds. It waits for a BrowserStack that
// is away.
func (h *host) planSlots() (int, error) {
	said := false
	for {
		plan, err := h.cloud.gate.Look(h.claims, 0)
		switch {
		case err == nil && plan.Limit() == 0:
			return 0, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "slots", Message: "the BrowserStack plan has no App Automate sessions",
				Hint: "give --slots to wait for some"}
		case err == nil:
			return min(plan.Limit(), MaxSlots), nil
		case qgjob.KindOf(err) != qgjob.KindUnavailable:
			return 0, err
		}
		if !said {
			h.Log.Warn("BrowserStack does not tell its plan; it is asked again", "error", err)
			said = true
		}
		if err := pause(h.claims, h.retryPause); err != nil {
			return 0, err
		}
	}
}

// enter has the slot ask for work only while the plan has room for its session.
func (s *slot) enter(ctx context.Context) error {
	if s.host.cloud == nil {
		return nil
	}
	s.pass.Leave()
	var err error
	s.pass, err = s.host.cloud.gate.Enter(ctx)
	return err
}

// admit says whether a session may begin for an offer now. One that may not is
// given back unstarted: nothing of the job was run, and nothing of its budget
// is gone.
func (s *slot) admit(ctx context.Context) bool {
	if s.host.cloud == nil {
		return true
	}
	if s.pass == nil && s.enter(ctx) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	for {
		err := s.pass.Commit(ctx)
		if err == nil {
			return true
		}
		if _, full := errors.AsType[*browserstack.FullError](err); !full {
			s.log.Warn("BrowserStack does not tell its plan; the job is given back", "error", err)
			return false
		}
		if pause(ctx, min(time.Second, s.host.fullPause)) != nil {
			s.log.Info("another has taken the session; the job is given back", "error", err)
			return false
		}
	}
}

// leavePass gives the room of an attempt back.
func (s *slot) leavePass() {
	s.pass.Leave()
	s.pass = nil
}

// journal is where an attempt's test notes its sessions.
func (a *attempt) journal() *browserstack.Journal {
	return browserstack.NewJournal(filepath.Join(a.dir, hookFolder, "sessions.jsonl"))
}

// followSessions tells the gate where to read of the test's sessions, and the
// test where to write.
func (a *attempt) followSessions() ([]string, error) {
	if a.slot.host.cloud == nil {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Join(a.dir, hookFolder), 0o700); err != nil {
		return nil, err
	}
	j := a.journal()
	a.slot.pass.Follow(j)
	return []string{j.Env()}, nil
}

// askCloud leaves what BrowserStack knows of the test's sessions, with the
// links to videos and logs, and doubts a failure on a phone that broke.
func (a *attempt) askCloud() {
	if a.slot.host.cloud == nil {
		return
	}
	ids := a.journal().Sessions()
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.hold.ctx), askTime)
	defer cancel()
	var found []browserstack.Session
	for _, id := range ids {
		session, err := a.slot.host.cloud.client.Session(ctx, id)
		if err != nil {
			a.log.note("BrowserStack tells nothing of session %s: %v", id, err)
			continue
		}
		found = append(found, session)
		a.log.note("BrowserStack session %s on %q: %s", id, session.Device, session.BrowserURL)
		if session.Broke() && a.done.Outcome == qgjob.OutcomeFailed {
			a.conclude(qgjob.OutcomeErrored, qgjob.ReasonDevice, fmt.Sprintf("BrowserStack says that the device of session %s broke (%s)\n%s", id, session.Reason, a.done.Message))
		}
	}
	if err := browserstack.WriteLinks(filepath.Join(a.dir, outputFolder), found); err != nil {
		a.log.note("the links of the sessions: %v", err)
	}
}

// hide takes the access key out of what the test left and of what it said.
func (a *attempt) hide() {
	c := a.slot.host.cloud
	if c == nil {
		return
	}
	clean, err := browserstack.CleanJSON(c.secrets, a.done)
	if err != nil {
		a.log.note("the details of the result are left out: %v", err)
		clean = a.done
		clean.Tests, clean.Message = nil, string(c.secrets.Clean([]byte(a.done.Message)))
	}
	a.done = clean
	for _, folder := range artifactFolders {
		if err := c.secrets.CleanFolder(filepath.Join(a.dir, folder)); err != nil {
			a.log.note("the access key was looked for in the artifacts: %v", err)
		}
	}
}

// driveCloud has AppWright use the uploaded app, and note its sessions.
func (a *attempt) driveCloud(suite runner.Suite) (*runner.Drive, error) {
	d, ok := a.slot.device.(*device.Cloud)
	if !ok || d.Address(a.build) == "" {
		return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Message: fmt.Sprintf("app version %s has no uploaded build that BrowserStack could take", a.offer.Job.AppVersionID),
			Hint: "submit with --app=FILE.apk, or qgjob app upload"}
	}
	if suite.Warning != "" {
		a.log.note("%s", suite.Warning)
	}
	job := a.offer.Job
	return &runner.Drive{Suite: suite, Work: filepath.Join(a.dir, hookFolder), Cloud: &runner.Cloud{
		App: d.Address(a.build), Journal: a.journal().Path(), Name: job.JobID.String() + " " + job.TestPath,
		Build: string(job.OrgID) + " " + string(job.AppVersionID), API: a.slot.host.cloud.client.Base(), Hub: a.slot.host.CloudHub,
	}}, nil
}
