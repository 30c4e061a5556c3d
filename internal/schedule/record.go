package schedule

import (
	"time"

	"github.com/qualgent/qgjob"
)

// Build is what an install puts on a device. Two builds are the same when all
// three fields are. The zero Build means that nothing is known to be there.
type Build struct {
	Org     qgjob.OrgID
	Version qgjob.AppVersionID
	SHA     qgjob.Sum // empty for an app version without an uploaded build
}

// Group is all waiting jobs of one build, target and requirements.
type Group struct {
	ID       qgjob.GroupID // above 0
	Build    Build         // its Org owns the group
	Target   qgjob.Target
	Requires map[string]string // labels that an agent must have; not changed after SetGroup
	Install  float64           // seconds that an install of Build takes on an agent of install factor 1
	Queue
}

// Queue is what changes of a group when jobs come and go: aggregates over its
// waiting jobs, so that a decision never looks at a job.
type Queue struct {
	Waiting       int     // jobs that wait
	Work          float64 // their estimates, summed, in seconds of work
	Runs          int     // distinct runs among them
	HeadPriority  int     // priority of the job that goes first
	HeadSubmitted float64 // when that job was submitted
}

// Agent is one device slot.
type Agent struct {
	ID            qgjob.AgentID
	Org           qgjob.OrgID // whose jobs it takes; empty: everybody's
	Target        qgjob.Target
	Labels        map[string]string // not changed after SetAgent
	Speed         float64           // 0.001 to 1000; SetAgent takes 0 for 1
	InstallFactor float64           // multiplies a group's Install; as Speed
	SharedInstall bool              // an install is one upload per build that serves all such agents
	Installed     Build             // what is on the device, or is being put there
	Pinned        qgjob.AppVersionID
	Serving       qgjob.GroupID // the group of the job in hand; 0 when free
	FreeAt        float64       // when that job is expected to end; an estimate, may lie in the past
	Holds         qgjob.GroupID // RulePin only: the group it keeps for itself; 0 for none
	Up            bool          // heard of lately
	Draining      bool          // takes no more jobs
	Blocked       []Build       // builds that broke here and are refused for now; not changed after SetAgent
}

// Org is a tenant's standing.
type Org struct {
	ID      qgjob.OrgID
	Weight  float64 // share against other orgs; SetOrg takes 0 for 1
	Quota   int     // most jobs at once; 0 is no limit
	Running int     // jobs leased to agents now
	Used    Usage   // the org's virtual time
}

// Seconds gives an instant in the unit of this package, from the Unix epoch.
func Seconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}
