package server

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// route is one line of the route table: what is asked for, who may ask for
// whose things, and who answers. Either Handler answers, or operation makes
// huma answer.
type route struct {
	Method  string
	Pattern string // of http.ServeMux, without the method
	Scope   scope
	Owner   owner
	Handler http.HandlerFunc
	Missing http.HandlerFunc // answers what is not there, or is another org's, when problem+json will not do

	ID      string // operation id in OpenAPI; empty keeps a route outside /v1 out of it
	Summary string
	Status  int   // of success, when not 200
	Limit   int64 // bytes of request body; 0 is smallBody; negative: the handler has its own
	Stream  bool  // answers, or takes a body, for as long as it likes

	Answers   string // content type of the answer of a Handler, for OpenAPI
	operation func(huma.API, huma.Operation)
	takes     reflect.Type // of an operation's body; nil when it takes none
}

// declared refuses a route that does not say who may use it.
func (r route) declared() error {
	if r.Scope == "" || r.Owner == "" {
		return fmt.Errorf("route %s %s does not say which scope it needs (scope.go) and whose things it is about (owner.go)", r.Method, r.Pattern)
	}
	return nil
}

// Limits of request bodies, in bytes.
const (
	smallBody    = 64 << 10
	submitBody   = 16 << 20
	completeBody = 32 << 20
	logBody      = 1 << 20
)

// routes is the whole API.
func (s *Server) routes() []route {
	var all []route
	for _, some := range [][]route{
		s.runRoutes(), s.jobRoutes(), s.scheduleRoutes(), s.appRoutes(), s.orgRoutes(), s.webhookRoutes(), s.tokenRoutes(), s.oidcRoutes(), s.agentRoutes(), s.leaseRoutes(),
		s.seedRoutes(), s.streamRoutes(), s.blobRoutes(), s.resultRoutes(),
		s.healthRoutes(), s.metricsRoutes(), s.docsRoutes(), s.openapiRoutes(),
	} {
		all = append(all, some...)
	}
	return all
}
