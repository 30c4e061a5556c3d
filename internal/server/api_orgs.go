package server

import (
	"context"
	"net/http"

	"github.com/qualgent/qgjob"
)

func (s *Server) orgRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/orgs/{org_id}", Scope: scopeRead, Owner: ownerOrg, ID: "get-org", Summary: "Get an org's standing with the scheduler"}, s.getOrg),
		operation(s, route{Method: http.MethodPut, Pattern: "/v1/orgs/{org_id}", Scope: scopeAdmin, Owner: ownerAll, ID: "put-org", Summary: "Set an org's weight and quota"}, s.putOrg),
	}
}

// AtOrg is the path of calls about an org; exported for huma, like AtRun.
type AtOrg struct {
	OrgID qgjob.OrgID `path:"org_id"`
}

func (s *Server) getOrg(ctx context.Context, in *AtOrg) (*answer[qgjob.Org], error) {
	if err := qgjob.CheckName("org_id", string(in.OrgID)); err != nil {
		return nil, inPath(err)
	}
	return answering(s.Store.Org(ctx, in.OrgID))
}

type putOrgInput struct {
	AtOrg
	Body struct {
		Weight *float64 `json:"weight,omitempty" doc:"share of the fleet against other orgs, 0.01 to 100; left out: as it is"`
		Quota  *int     `json:"quota,omitempty" doc:"most jobs it may run at once; 0 is no limit; left out: as it is"`
	}
}

func (s *Server) putOrg(ctx context.Context, in *putOrgInput) (*answer[qgjob.Org], error) {
	if err := qgjob.CheckName("org_id", string(in.OrgID)); err != nil {
		return nil, inPath(err)
	}
	org, err := s.Store.Org(ctx, in.OrgID)
	if err != nil {
		return nil, err
	}
	if in.Body.Weight != nil {
		org.Weight = *in.Body.Weight
	}
	if in.Body.Quota != nil {
		org.Quota = *in.Body.Quota
	}
	return answering(s.Store.PutOrg(ctx, org))
}
