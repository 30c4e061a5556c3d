package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/qualgent/qgjob"
)

// operation makes huma answer a route: I is what it takes (path, query and
// header parameters and Body), O what it answers with.
func operation[I, O any](s *Server, r route, do func(context.Context, *I) (*O, error)) route {
	if f, ok := reflect.TypeFor[I]().FieldByName("Body"); ok {
		r.takes = f.Type
	}
	r.operation = func(api huma.API, o huma.Operation) {
		huma.Register(api, o, func(ctx context.Context, in *I) (*O, error) {
			out, err := do(ctx, in)
			if err != nil {
				return nil, s.problemOf(ctx, err)
			}
			return out, nil
		})
	}
	return r
}

// answer is a body and nothing else.
type answer[T any] struct{ Body T }

func answering[T any](v T, err error) (*answer[T], error) { return &answer[T]{v}, err }

// list is a list that is never paged.
type list[T any] struct {
	Items []T `json:"items"`
}

// caught takes the handlers that huma makes, so that they go through the same
// doors as all others.
type caught map[string]http.HandlerFunc

// HandleFunc notes a handler under its pattern.
func (c caught) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	c[pattern] = handler
}

// ServeHTTP is asked for by huma and never called.
func (c caught) ServeHTTP(http.ResponseWriter, *http.Request) {}

// mount puts every route of the table on the mux, behind the same doors:
// panics, tokens, limits, strict JSON.
func (s *Server) mount() error {
	handlers := caught{}
	api := humaFor(handlers, s)
	for _, r := range s.routes() {
		if err := r.declared(); err != nil {
			return err
		}
		var h http.Handler = r.Handler
		at := strings.TrimSpace(r.Method + " " + r.Pattern)
		if r.operation != nil {
			r.operation(api, r.describe())
			h = s.strictly(r.takes, handlers[at])
		} else if r.ID != "" || strings.HasPrefix(r.Pattern, "/v1/") {
			api.OpenAPI().AddOperation(r.describeByHand())
		}
		s.mux.Handle(at, s.survive(s.authenticate(r, s.bounded(r.Limit, h))))
	}
	spec, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	s.openapi = spec
	return nil
}

func humaFor(handlers caught, s *Server) huma.API { return humago.New(handlers, s.describeAPI()) }

func (s *Server) describeAPI() huma.Config {
	names := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	names.RegisterTypeAlias(reflect.TypeFor[problemError](), reflect.TypeFor[problem]())
	names.RegisterTypeAlias(reflect.TypeFor[qgjob.JobID](), reflect.TypeFor[jobIDText]())
	names.RegisterTypeAlias(reflect.TypeFor[qgjob.RunID](), reflect.TypeFor[runIDText]())
	names.RegisterTypeAlias(reflect.TypeFor[qgjob.GroupID](), reflect.TypeFor[groupIDText]())
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "qgjob", Version: s.versionText(), Description: "Queues mobile end-to-end tests, groups them by app version, and runs them on a fleet of devices. " +
				"Errors are problem+json (RFC 9457): kind says what you can do about them, code is a stable word to branch on."},
			Components: &huma.Components{
				Schemas:         names,
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", Description: "The token of the server, or of an org."}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": strictJSON, "json": strictJSON},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

func (s *Server) versionText() string {
	if s.Version == "" {
		return "dev"
	}
	return s.Version
}

func numbered(prefix string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^" + prefix + "_[1-9][0-9]*$", PatternDescription: prefix + "_ and a number", Examples: []any{prefix + "_7"}}
}

type (
	jobIDText   string // stands for qgjob.JobID in the API's description
	runIDText   string // stands for qgjob.RunID
	groupIDText string // stands for qgjob.GroupID
)

// Schema describes a job id.
func (jobIDText) Schema(huma.Registry) *huma.Schema { return numbered("job") }

// Schema describes a run id.
func (runIDText) Schema(huma.Registry) *huma.Schema { return numbered("run") }

// Schema describes a group id.
func (groupIDText) Schema(huma.Registry) *huma.Schema { return numbered("group") }

// describe is the route as huma wants it. The limits are -1: bounded has them.
func (r route) describe() huma.Operation {
	o := huma.Operation{OperationID: r.ID, Method: r.Method, Path: r.Pattern, Summary: r.Summary, DefaultStatus: r.Status,
		MaxBodyBytes: -1, BodyReadTimeout: -1, Tags: []string{r.tag()}, Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable}}
	if r.takes != nil {
		o.Errors = append(o.Errors, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if strings.Contains(r.Pattern, "{") {
		o.Errors = append(o.Errors, http.StatusNotFound)
	}
	if r.Method != http.MethodGet {
		o.Errors = append(o.Errors, http.StatusConflict)
	}
	if r.Scope != scopeNone {
		o.Errors = append(o.Errors, http.StatusUnauthorized, http.StatusForbidden)
		o.Security = []map[string][]string{{"bearer": {}}}
		o.Description = "Needs the scope " + string(r.Scope) + "."
	}
	return o
}

var pathParameter = regexp.MustCompile(`\{([a-z0-9_]+)(\.\.\.)?\}`)

// describeByHand describes a route that huma does not answer: streams, raw
// bytes, pages.
func (r route) describeByHand() *huma.Operation {
	o := r.describe()
	if o.OperationID == "" {
		o.OperationID = strings.ToLower(r.Method) + strings.NewReplacer("/", "-", "{", "", "}", "", "...", "", "_", "-").Replace(r.Pattern)
	}
	o.Path = pathParameter.ReplaceAllString(r.Pattern, "{$1}")
	for _, m := range pathParameter.FindAllStringSubmatch(r.Pattern, -1) {
		o.Parameters = append(o.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	ok := &huma.Response{Description: "OK"}
	if r.Answers != "" {
		ok.Content = map[string]*huma.MediaType{r.Answers: {Schema: &huma.Schema{Type: huma.TypeString}}}
	}
	o.Responses = map[string]*huma.Response{strconv.Itoa(max(r.Status, http.StatusOK)): ok}
	for _, code := range o.Errors {
		o.Responses[strconv.Itoa(code)] = &huma.Response{Description: http.StatusText(code),
			Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}}}
	}
	return &o
}

// tag groups routes in the description by the thing that they are about.
func (r route) tag() string {
	parts := strings.Split(strings.TrimPrefix(r.Pattern, "/v1/"), "/")
	return strings.Trim(parts[0], "/{}")
}

func (s *Server) openapiRoutes() []route {
	return []route{{Method: http.MethodGet, Pattern: "/openapi.json", Scope: scopeNone, Owner: ownerNobody, Handler: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.openapi) // the client is gone, or has it
	}}}
}
