package server

import (
	"net/http"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// owner says how a route's thing is tied to an org, and so what a token of one
// org may do there. The zero owner is none that a route may have.
//
// Two rules hold everywhere. An id of another org's is answered 404, in the
// same words as one that does not exist. An org that the caller names itself,
// in path, query or body, and that is not the token's, is refused with 403:
// that tells nothing, for an org need not exist to be named.
type owner string

// The owners.
const (
	ownerNobody   owner = "nobody"        // nothing of an org's is shown or changed
	ownerRun      owner = "run"           // {run_id}
	ownerJob      owner = "job"           // {job_id}
	ownerLease    owner = "lease"         // {lease_id}, held by the agent that asks
	ownerArtifact owner = "artifact"      // {lease_id}, to be read
	ownerAgent    owner = "agent"         // {agent_id}, which asks for itself
	ownerName     owner = "agent name"    // {agent_id}, which announces itself
	ownerShown    owner = "agent shown"   // {agent_id}, of the org or of all; what others do with it is left out
	ownerManaged  owner = "agent managed" // {agent_id}, of the org
	ownerOrg      owner = "org in path"   // {org_id}
	ownerQuery    owner = "org in query"  // ?org_id=, which becomes the token's
	ownerBody     owner = "org in body"   // the handler compares
	ownerList     owner = "list"          // the handler leaves out what is others'
	ownerFile     owner = "file"          // {sha256}, which the org has sent
	ownerToken    owner = "token"         // {token_id}
	ownerAll      owner = "all orgs"      // only tokens of all orgs
)

// admit refuses what the caller must not touch. What it gives is the request
// to go on with: a list that names no org is asked for the token's.
func (s *Server) admit(who caller, of owner, r *http.Request) (*http.Request, error) {
	switch of {
	case ownerAgent, ownerName:
		return r, s.admitAgent(who, of, qgjob.AgentID(r.PathValue("agent_id")), r)
	case ownerLease:
		return r, s.admitLease(who, r)
	}
	if who.org == "" {
		return r, nil
	}
	switch of {
	case ownerRun, ownerJob, ownerArtifact:
		return r, s.admitThing(who, of, r)
	case ownerShown, ownerManaged:
		return r, s.admitShown(who, of, qgjob.AgentID(r.PathValue("agent_id")), r)
	case ownerOrg:
		return r, who.mayOrg(qgjob.OrgID(r.PathValue("org_id")))
	case ownerQuery:
		return inOrg(who, r)
	case ownerToken:
		k, err := s.Store.Token(r.Context(), r.PathValue("token_id"))
		if err == nil && k.OrgID != who.org {
			err = store.NoToken()
		}
		return r, err
	case ownerAll:
		return r, &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope, Message: "this is about all orgs, and the token is of one", Hint: "use the server's own token, or one made with --all-orgs"}
	}
	return r, nil
}

// admitThing judges ids of runs, jobs and artifacts. A malformed id is left to
// the handler, which says what is wrong with it.
func (s *Server) admitThing(who caller, of owner, r *http.Request) error {
	var o store.Owner
	var err, missing error
	switch of {
	case ownerRun:
		id, bad := qgjob.ParseRunID(r.PathValue("run_id"))
		if bad != nil {
			return nil
		}
		o, err = s.Store.RunOwner(r.Context(), id)
		missing = store.NoRun(id)
	case ownerJob:
		id, bad := qgjob.ParseJobID(r.PathValue("job_id"))
		if bad != nil {
			return nil
		}
		o, err = s.Store.JobOwner(r.Context(), id)
		missing = store.NoJob(id)
	case ownerArtifact:
		id, bad := qgjob.ParseLeaseID(r.PathValue("lease_id"))
		if bad != nil {
			return nil
		}
		o, err = s.Store.LeaseOwner(r.Context(), id)
		missing = store.NoArtifact(id, r.PathValue("name"))
	}
	if qgjob.KindOf(err) == qgjob.KindNotFound || err == nil && !who.sees(o) {
		return missing
	}
	return err
}

// admitAgent lets a token act as the agents that it was made for only.
func (s *Server) admitAgent(who caller, of owner, id qgjob.AgentID, r *http.Request) error {
	if !qgjob.ServesAgent(who.agent, id) {
		return otherAgent(who)
	}
	if who.org == "" || of == ownerName { // a new name is judged when it registers
		return nil
	}
	o, err := s.Store.AgentOwner(r.Context(), id)
	if qgjob.KindOf(err) == qgjob.KindNotFound || err == nil && o.Org != who.org {
		return store.NotRegistered(id)
	}
	return err
}

func otherAgent(who caller) error {
	return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope, Field: "path.agent_id", Message: "this token is for agent " + string(who.agent) + " and the slots of its host",
		Hint: "start the agent with that --name, or with a join token of its own (qgjob token create --kind=agent-join), which then is good for the host's devices, too"}
}

// admitLease lets an agent at the leases that it holds only.
func (s *Server) admitLease(who caller, r *http.Request) error {
	if who.org == "" && who.agent == "" {
		return nil
	}
	id, bad := qgjob.ParseLeaseID(r.PathValue("lease_id"))
	if bad != nil {
		return nil
	}
	o, err := s.Store.LeaseOwner(r.Context(), id)
	if err == nil && (!who.sees(o) || !qgjob.ServesAgent(who.agent, o.Agent)) {
		return store.NoLease(id)
	}
	return err
}

// admitShown lets people see the agents of their org and those of all, and
// drain those of their org.
func (s *Server) admitShown(who caller, of owner, id qgjob.AgentID, r *http.Request) error {
	o, err := s.Store.AgentOwner(r.Context(), id)
	switch {
	case err != nil:
		return err
	case o.Org == who.org:
		return nil
	case o.Org != "":
		return store.NoAgent(id)
	case of == ownerManaged:
		return &qgjob.Error{Kind: qgjob.KindDenied, Code: qgjob.CodeScope, Message: "agent " + string(id) + " serves all orgs, and the token is of one", Hint: "use the server's own token, or one made with --all-orgs"}
	}
	return nil
}

// inOrg has a list asked for the caller's org.
func inOrg(who caller, r *http.Request) (*http.Request, error) {
	q := r.URL.Query()
	for _, named := range q["org_id"] {
		if err := who.mayOrg(qgjob.OrgID(named)); named != "" && err != nil {
			return r, err
		}
	}
	q.Set("org_id", string(who.org))
	narrowed := r.Clone(r.Context())
	narrowed.URL.RawQuery = q.Encode()
	for name := range pathNames {
		if v := r.PathValue(name); v != "" {
			narrowed.SetPathValue(name, v)
		}
	}
	return narrowed, nil
}

// pathNames are the parameters of paths of lists.
var pathNames = map[string]bool{"app_version_id": true}

// shown is an agent as a caller may see it: what an agent of all orgs does for
// others is left out.
func (c caller) shown(a qgjob.Agent) qgjob.Agent {
	if c.org == "" || a.Installed != nil && a.Installed.OrgID == c.org && (a.AssignedGroup == nil || *a.AssignedGroup == string(a.Installed.AppVersionID)) {
		return a
	}
	if a.OrgID == "" {
		a.Installed, a.AssignedGroup, a.JobID = nil, nil, nil
	}
	return a
}

// shownAgents are the agents that a caller may see.
func (c caller) shownAgents(all []qgjob.Agent) []qgjob.Agent {
	if c.org == "" {
		return all
	}
	list := []qgjob.Agent{}
	for _, a := range all {
		if a.OrgID == "" || a.OrgID == c.org {
			list = append(list, c.shown(a))
		}
	}
	return list
}

// shownExplanation leaves out of an explanation what agents do for others.
func (c caller) shownExplanation(e qgjob.Explanation, agents []qgjob.Agent) qgjob.Explanation {
	if c.org == "" {
		return e
	}
	known := map[qgjob.AgentID]qgjob.Agent{}
	for _, a := range c.shownAgents(agents) {
		known[a.AgentID] = a
	}
	answers := []qgjob.AgentAnswer{}
	for _, a := range e.Agents {
		agent, visible := known[a.AgentID]
		if !visible {
			continue
		}
		a.JobID = agent.JobID
		if agent.OrgID == "" {
			switch a.Answer {
			case "pinned":
				a.Text = "agent " + string(a.AgentID) + " is pinned to another app version until that has no job left; another agent, or the end of the pin, would help"
			case "outranked":
				a.Text = "agent " + string(a.AgentID) + " takes another group first, which scores higher; a higher priority or more agents would start it sooner"
			}
		}
		answers = append(answers, a)
	}
	e.Agents = answers
	return e
}
