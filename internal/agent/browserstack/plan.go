package browserstack

import "fmt"

// Plan is the account's room for sessions (GET /plan.json). What does not run
// at once waits in BrowserStack's own queue, which holds as many as the plan
// runs but at least 5, and drops what has waited for 15 minutes (docs: "Queue
// your tests").
type Plan struct {
	Running      int `json:"parallel_sessions_running"`
	Allowed      int `json:"parallel_sessions_max_allowed"`
	Team         int `json:"team_parallel_sessions_max_allowed"`
	Queued       int `json:"queued_sessions"`
	QueueAllowed int `json:"queued_sessions_max_allowed"`
}

// Limit is how many sessions may run at once: the account's, or the team's
// when that has fewer.
func (p Plan) Limit() int {
	limit := p.Allowed
	if p.Team > 0 && p.Team < limit {
		limit = p.Team
	}
	return max(0, limit)
}

// Free is how many more sessions would run at once. promised counts sessions
// that this agent has let begin and that do not show among the running yet.
// Whoever waits in BrowserStack's queue comes first.
func (p Plan) Free(promised int) int {
	return p.Limit() - max(0, p.Running) - max(0, p.Queued) - promised
}

// FullError says that the plan has no room for another session now.
type FullError struct {
	Plan     Plan
	Promised int
}

// Error is for people.
func (e *FullError) Error() string {
	return fmt.Sprintf("the BrowserStack plan has no free session: %d of %d run, %d wait there, %d are about to begin",
		e.Plan.Running, e.Plan.Limit(), e.Plan.Queued, e.Promised)
}
