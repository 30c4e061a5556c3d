package server

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

func (s *Server) agentRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/agents", Scope: scopeRead, Owner: ownerList, ID: "list-agents", Summary: "List agents by id"}, s.listAgents),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/agents/{agent_id}", Scope: scopeRead, Owner: ownerShown, ID: "get-agent", Summary: "Get an agent"}, s.getAgent),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/agents/{agent_id}/register", Scope: scopeAgent, Owner: ownerName, ID: "register-agent",
			Summary: "Announce an agent; leases of its older incarnations are released"}, s.registerAgent),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/agents/{agent_id}/claim", Scope: scopeAgent, Owner: ownerAgent, ID: "claim", Stream: true,
			Summary: "Ask for work, and wait for it up to wait_ms"}, s.claimWork),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/agents/{agent_id}/renew", Scope: scopeAgent, Owner: ownerAgent, ID: "renew",
			Summary: "Keep an agent and its leases alive"}, s.renewLeases),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/agents/{agent_id}/drain", Scope: scopeAdmin, Owner: ownerManaged, ID: "drain-agent",
			Summary: "Let an agent claim no more; it finishes what it runs"}, s.drainAgent),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/agents/{agent_id}/undrain", Scope: scopeAdmin, Owner: ownerManaged, ID: "undrain-agent",
			Summary: "Let an agent claim again"}, s.undrainAgent),
	}
}

// AtAgent is the path of calls about an agent; exported for huma, like AtRun.
type AtAgent struct {
	AgentID qgjob.AgentID `path:"agent_id"`
}

func (s *Server) listAgents(ctx context.Context, _ *struct{}) (*answer[list[qgjob.Agent]], error) {
	agents, err := s.Store.Agents(ctx)
	return answering(list[qgjob.Agent]{callerOf(ctx).shownAgents(agents)}, err)
}

func (s *Server) getAgent(ctx context.Context, in *AtAgent) (*answer[qgjob.Agent], error) {
	agent, err := s.Store.Agent(ctx, in.AgentID)
	return answering(callerOf(ctx).shown(agent), err)
}

type registerInput struct {
	AtAgent
	Body qgjob.RegisterRequest
}

func (s *Server) registerAgent(ctx context.Context, in *registerInput) (*answer[qgjob.RegisterResponse], error) {
	if err := qgjob.CheckName("agent_id", string(in.AgentID)); err != nil {
		return nil, inPath(err)
	}
	if err := checkInstalled("installed", in.Body.Installed); err != nil {
		return nil, err
	}
	resp, err := s.Store.RegisterFor(ctx, callerOf(ctx).org, in.AgentID, in.Body)
	if err == nil {
		s.Hub.wakeAgent(in.AgentID) // a poll of an older incarnation has to go
	}
	return answering(resp, err)
}

// checkInstalled refuses what no device could hold. Only the agent knows
// whether it does hold it.
func checkInstalled(field string, in *qgjob.Installed) error {
	if in == nil {
		return nil
	}
	if err := qgjob.CheckName(field+".org_id", string(in.OrgID)); err != nil {
		return err
	}
	if err := qgjob.CheckName(field+".app_version_id", string(in.AppVersionID)); err != nil {
		return err
	}
	if in.BuildSHA256 != "" {
		if _, err := qgjob.ParseSum(string(in.BuildSHA256)); err != nil {
			return qgjob.Invalid(field+".build_sha256", field+".build_sha256 must be 64 lower-case hex digits")
		}
	}
	return nil
}

type claimInput struct {
	AtAgent
	Body qgjob.ClaimRequest
}

func (s *Server) claimWork(ctx context.Context, in *claimInput) (*answer[qgjob.ClaimResponse], error) {
	if err := checkInstalled("installed", in.Body.Installed); err != nil {
		return nil, err
	}
	resp, err := s.claim(ctx, in.AgentID, in.Body)
	if err == nil && len(resp.Offers) == 0 {
		s.metrics.claimEmpty()
	}
	return answering(resp, err)
}

type renewInput struct {
	AtAgent
	Body qgjob.RenewRequest
}

func (s *Server) renewLeases(ctx context.Context, in *renewInput) (*answer[qgjob.RenewResponse], error) {
	return answering(s.Store.Renew(ctx, in.AgentID, in.Body))
}

func (s *Server) drainAgent(ctx context.Context, in *AtAgent) (*answer[qgjob.Agent], error) {
	agent, err := s.Store.Drain(ctx, in.AgentID, true)
	if err == nil {
		s.Hub.wakeAgent(in.AgentID) // its poll is to say so now
	}
	return answering(agent, err)
}

func (s *Server) undrainAgent(ctx context.Context, in *AtAgent) (*answer[qgjob.Agent], error) {
	return answering(s.Store.Drain(ctx, in.AgentID, false))
}
