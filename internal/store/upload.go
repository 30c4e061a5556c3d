package store

import (
	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// Agents of a device cloud share their installs: a build is uploaded once and
// is there for all of them. That a build was uploaded is read off its install
// estimate for the target, which outlives a restart and which every server
// sees; that it is being uploaded is only known to the server that offered the
// job.

// promiseUpload notes that the job of a lease uploads its build, which takes
// the time given, in seconds. Others then wait for it instead of counting an
// upload of their own.
func (t *tx) promiseUpload(a *agentRow, j *jobRow, install float64) {
	b := buildOf(j)
	if a.target != qgjob.TargetBrowserStack || install <= 0 {
		return
	}
	if _, there := t.m.state.Upload(b); there {
		return
	}
	t.m.uploading[b] = j.LeaseID
	t.m.state.SetUpload(b, schedule.Seconds(t.now)+install)
}

// noteUpload takes an attempt's word that its build is uploaded, or is not.
func (t *tx) noteUpload(j *jobRow, did qgjob.InstallOutcome) {
	if j.target != qgjob.TargetBrowserStack {
		return
	}
	b := buildOf(j)
	switch did {
	case qgjob.InstallDone, qgjob.InstallAvoided:
		delete(t.m.uploading, b)
		t.m.state.SetUpload(b, schedule.Seconds(t.now))
	case qgjob.InstallFailed:
		delete(t.m.uploading, b)
		t.m.state.ForgetUpload(b)
	}
}

// knowUpload has the scheduler know a build that was uploaded before.
func (t *tx) knowUpload(k installKey) error {
	if k.target != qgjob.TargetBrowserStack {
		return nil
	}
	e, err := t.installEstimate(k)
	if err != nil || e.N == 0 {
		return err
	}
	if _, promised := t.m.uploading[k.build]; promised {
		delete(t.m.uploading, k.build)
		t.m.state.ForgetUpload(k.build)
	}
	if _, there := t.m.state.Upload(k.build); !there {
		t.m.state.SetUpload(k.build, schedule.Seconds(t.now))
	}
	return nil
}

// breakPromise forgets the upload of a lease that ended without a word of it.
func (m *mirror) breakPromise(id qgjob.LeaseID) {
	for b, lease := range m.uploading {
		if lease == id {
			delete(m.uploading, b)
			m.state.ForgetUpload(b)
			return
		}
	}
}

// dropUpload forgets a build's upload with the last group of the build; the
// next group looks it up again.
func (m *mirror) dropUpload(gone schedule.Group) {
	if gone.Target != qgjob.TargetBrowserStack {
		return
	}
	for k := range m.groups {
		if k.target == gone.Target && (schedule.Build{Org: k.org, Version: k.version, SHA: k.build}) == gone.Build {
			return
		}
	}
	delete(m.uploading, gone.Build)
	m.state.ForgetUpload(gone.Build)
}

func buildOf(j *jobRow) schedule.Build {
	return schedule.Build{Org: j.org, Version: j.version, SHA: j.build}
}
