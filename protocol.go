package qgjob

// What agents and server say to each other: LEASES.md in types. Every call of
// an agent names its incarnation; a call of an older one is refused with
// CodeAgentSuperseded.

// RegisterRequest announces an agent. Incarnation is monotonic and kept on
// the agent's disk; a delayed duplicate of an older one is ignored.
type RegisterRequest struct {
	Incarnation int64             `json:"incarnation" minimum:"1"`
	Target      Target            `json:"target" enum:"emulator,device,browserstack,browser"`
	Labels      map[string]string `json:"labels,omitempty"`
	Runner      string            `json:"runner" maxLength:"64"`
	Host        string            `json:"host,omitempty" maxLength:"255"`
	Version     string            `json:"version,omitempty" maxLength:"64"`
	Installed   *Installed        `json:"installed,omitempty" doc:"what the device holds now"`
	Quarantine  *Quarantine       `json:"quarantine,omitempty" doc:"the agent takes no jobs, and why; none ends an earlier one"`
}

// RegisterResponse tells an agent its record and the protocol's timing.
type RegisterResponse struct {
	Agent  Agent  `json:"agent"`
	Timing Timing `json:"timing"`
}

// ReignHeader is the header of every answer that names the reign of the
// database's primary, where there can be several. With another name than
// before a failover has happened, and results that were acknowledged may be
// lost: an agent offers them again.
const ReignHeader = "Qgjob-Reign"

// Timing is the protocol's numbers, all in milliseconds; every one follows
// from the lease TTL.
type Timing struct {
	LeaseTTLMS int64 `json:"lease_ttl_ms" doc:"a lease unrenewed for so long is lost"`
	RenewMS    int64 `json:"renew_ms" doc:"renew so often, give or take a fifth"`
	OfferTTLMS int64 `json:"offer_ttl_ms" doc:"an offer not started or renewed for so long goes back"`
	PollMS     int64 `json:"poll_ms" doc:"the longest a claim may wait"`
}

// ClaimRequest asks for work. The same ClaimID again gets the same answer, so
// a claim may be repeated when its answer was lost.
type ClaimRequest struct {
	Incarnation int64      `json:"incarnation"`
	ClaimID     string     `json:"claim_id" minLength:"8" maxLength:"64"`
	Max         int        `json:"max,omitempty" minimum:"0" maximum:"64" doc:"offers wanted; default 1"`
	WaitMS      int64      `json:"wait_ms,omitempty" minimum:"0" maximum:"60000" doc:"how long to wait for work"`
	Installed   *Installed `json:"installed,omitempty" doc:"what the device holds now"`
}

// ClaimResponse holds the offers; none when nothing came in time.
type ClaimResponse struct {
	Offers []Offer `json:"offers"`
	Drain  bool    `json:"drain" doc:"stop claiming: someone asked this agent to drain"`
}

// Offer is a job leased to the agent. Nothing of it may run before its start
// was acknowledged.
type Offer struct {
	LeaseID LeaseID `json:"lease_id"`
	Number  int     `json:"number" doc:"the attempt's number, from 1"`
	Job     Job     `json:"job"`
	App     *App    `json:"app,omitempty" doc:"the build to put on the device; none when the org uploaded none"`
}

// StartRequest asks for leave to begin the attempt.
type StartRequest struct {
	AgentID     AgentID `json:"agent_id"`
	Incarnation int64   `json:"incarnation"`
}

// LeaseAnswer tells an agent how one of its leases stands.
type LeaseAnswer string

// The lease answers.
const (
	LeaseOK     LeaseAnswer = "ok"
	LeaseCancel LeaseAnswer = "cancel" // stop the test, then complete as cancelled
	LeaseStale  LeaseAnswer = "stale"  // someone else's by now: stop, and report nothing
)

// StartResponse gives leave (ok) or says to complete as cancelled (cancel). A
// stale lease is answered with a conflict error instead.
type StartResponse struct {
	Answer LeaseAnswer `json:"answer"`
}

// RenewRequest keeps an agent and its leases alive. Offers that the server
// thinks the agent holds and that are not named here are released at once:
// their claim's answer was lost.
type RenewRequest struct {
	Incarnation int64     `json:"incarnation"`
	Leases      []LeaseID `json:"leases" maxItems:"256"`
	Leaving     bool      `json:"leaving,omitempty" doc:"the agent goes away in good order: it is offline at once"`
}

// RenewResponse answers for each lease.
type RenewResponse struct {
	Leases map[LeaseID]LeaseAnswer `json:"leases"`
	Drain  bool                    `json:"drain"`
}

// LogResponse says how long the attempt's log now is, in bytes.
type LogResponse struct {
	Length int64 `json:"length"`
	Full   bool  `json:"full" doc:"the quota is reached; further bytes are counted but not kept"`
}

// CompleteRequest ends an attempt. Digest is a hash over the result made by
// the agent: the same lease with the same digest gets the same answer again,
// with another digest it is refused.
type CompleteRequest struct {
	AgentID     AgentID        `json:"agent_id"`
	Incarnation int64          `json:"incarnation"`
	Outcome     Outcome        `json:"outcome" enum:"passed,failed,errored,cancelled,interrupted"`
	Reason      Reason         `json:"reason,omitempty" maxLength:"64"`
	Message     string         `json:"message,omitempty" maxLength:"8192"`
	ExitCode    *int           `json:"exit_code,omitempty"`
	Digest      string         `json:"digest" minLength:"8" maxLength:"128"`
	Install     InstallOutcome `json:"install,omitempty" enum:",installed,avoided,failed"`
	InstallMS   int64          `json:"install_ms,omitempty" minimum:"0"`
	TestMS      int64          `json:"test_ms,omitempty" minimum:"0"`
	Tests       []TestResult   `json:"tests,omitempty" maxItems:"20000"`
	Installed   *Installed     `json:"installed,omitempty" doc:"what the device holds now"`
	Next        *ClaimRequest  `json:"next,omitempty" doc:"claim in the same request, before any waiting agent is woken"`
}

// CompleteResponse tells what the job became, and the next offers when some
// were asked for.
type CompleteResponse struct {
	Status JobState       `json:"status"`
	Next   *ClaimResponse `json:"next,omitempty"`
}

// ArtifactRequest ties an uploaded file to an attempt.
type ArtifactRequest struct {
	Name        string `json:"name" minLength:"1" maxLength:"512"`
	SHA256      Sum    `json:"sha256"`
	ContentType string `json:"content_type,omitempty" maxLength:"128"`
}

// BlobInfo says how much of a file the server holds.
type BlobInfo struct {
	SHA256   Sum   `json:"sha256"`
	Complete bool  `json:"complete"`
	Received int64 `json:"received" doc:"bytes; go on from here"`
}
