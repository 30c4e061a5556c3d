package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/qualgent/qgjob"
)

// The seed's six routes and /health, byte for byte as its clients know them:
// compact JSON in this order of keys, status 200 on success, FastAPI's error
// bodies. They are not in OpenAPI and will never change; /v1 is where new
// things go.

// seedJob is a job as the seed shows it.
type seedJob struct {
	JobID        string             `json:"job_id"`
	OrgID        qgjob.OrgID        `json:"org_id"`
	AppVersionID qgjob.AppVersionID `json:"app_version_id"`
	TestPath     string             `json:"test_path"`
	Priority     int                `json:"priority"`
	Target       qgjob.Target       `json:"target"`
	Status       qgjob.JobState     `json:"status"`
}

func newSeedJob(j *qgjob.Job) seedJob {
	return seedJob{j.JobID.String(), j.OrgID, j.AppVersionID, j.TestPath, j.Priority, j.Target, j.Status}
}

// seedAgent is an agent as GET /agents shows it.
type seedAgent struct {
	AgentID       qgjob.AgentID    `json:"agent_id"`
	Target        qgjob.Target     `json:"target"`
	Status        qgjob.AgentState `json:"status"`
	AssignedGroup *string          `json:"assigned_group"`
}

// seedRegistered is an agent as POST /agents/register shows it.
type seedRegistered struct {
	AgentID qgjob.AgentID    `json:"agent_id"`
	Target  qgjob.Target     `json:"target"`
	Status  qgjob.AgentState `json:"status"`
}

// seedDetail is the body of every refusal but 422.
type seedDetail struct {
	Detail string `json:"detail"`
}

// seedRoutes are the seed's routes. The lines without a method answer what
// none of the others does: another method, and a slash too many.
func (s *Server) seedRoutes() []route {
	routes := []route{
		{Method: http.MethodGet, Pattern: "/health", Scope: scopeNone, Owner: ownerNobody, Handler: s.seedHealth},
		{Method: http.MethodPost, Pattern: "/jobs/submit", Scope: scopeSubmit, Owner: ownerBody, Handler: s.seedSubmit},
		{Method: http.MethodGet, Pattern: "/jobs/status/{job_id}", Scope: scopeRead, Owner: ownerJob, Handler: s.seedStatus, Missing: seedNoJob},
		{Method: http.MethodGet, Pattern: "/jobs/group/{app_version_id}", Scope: scopeRead, Owner: ownerQuery, Handler: s.seedGroup},
		{Method: http.MethodPost, Pattern: "/agents/register", Scope: scopeAgent, Owner: ownerBody, Handler: s.seedRegister},
		{Method: http.MethodGet, Pattern: "/agents", Scope: scopeRead, Owner: ownerList, Handler: s.seedAgents},
		{Method: http.MethodPost, Pattern: "/agents/assign", Scope: scopeAdmin, Owner: ownerBody, Handler: s.seedAssign},
	}
	for _, known := range routes {
		routes = append(routes,
			route{Pattern: known.Pattern, Scope: scopeNone, Owner: ownerNobody, Handler: seedWrongMethod(known.Method)},
			route{Pattern: known.Pattern + "/{$}", Scope: scopeNone, Owner: ownerNobody, Handler: seedSlash})
	}
	return routes
}

// seedWrongMethod answers a path that is there with a method that is not.
func seedWrongMethod(allowed string) http.HandlerFunc {
	if allowed == http.MethodGet {
		allowed = "GET, HEAD"
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allowed)
		seedWrite(w, http.StatusMethodNotAllowed, seedDetail{"Method Not Allowed"})
	}
}

// seedSlash sends a path with a slash at its end to the one without. 307 keeps
// method and body. The target is relative to this host by construction: the
// patterns begin with a name, so it never becomes //other.host.
func seedSlash(w http.ResponseWriter, r *http.Request) {
	to := *r.URL
	to.Path, to.RawPath = trimSlash(to.Path), trimSlash(to.RawPath)
	to.Scheme, to.Host, to.User = "", "", nil
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func trimSlash(path string) string {
	if path == "" {
		return ""
	}
	return path[:len(path)-1]
}

func (s *Server) seedHealth(w http.ResponseWriter, _ *http.Request) {
	seedWrite(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

func (s *Server) seedSubmit(w http.ResponseWriter, r *http.Request) {
	form := readSeedForm(r)
	spec := qgjob.JobSpec{}
	org := qgjob.OrgID(form.name("org_id"))
	spec.AppVersionID = qgjob.AppVersionID(form.name("app_version_id"))
	spec.TestPath = form.testPath("test_path")
	spec.Priority = form.priority("priority")
	spec.Target = form.target("target")
	if s.refused(w, r, form) {
		return
	}
	who := callerOf(r.Context())
	if err := who.mayOrg(org); err != nil {
		s.seedError(w, r, err)
		return
	}
	resp, err := s.Store.SubmitBound(r.Context(), who.run, "", qgjob.SubmitRequest{OrgID: org, Jobs: []qgjob.JobSpec{spec}})
	if err != nil {
		s.seedError(w, r, err)
		return
	}
	seedWrite(w, http.StatusOK, struct {
		Message string `json:"message"`
		JobID   string `json:"job_id"`
	}{"Job submitted", resp.JobIDs[0].String()})
}

func (s *Server) seedStatus(w http.ResponseWriter, r *http.Request) {
	id, err := qgjob.ParseJobID(r.PathValue("job_id"))
	if err != nil {
		err = qgjob.NotFound("no such job") // the seed had no form that an id must have
	}
	var job qgjob.Job
	if err == nil {
		job, err = s.Store.Job(r.Context(), id)
	}
	switch {
	case qgjob.KindOf(err) == qgjob.KindNotFound:
		seedNoJob(w, r)
	case err != nil:
		s.seedError(w, r, err)
	default:
		seedWrite(w, http.StatusOK, newSeedJob(&job))
	}
}

func seedNoJob(w http.ResponseWriter, _ *http.Request) {
	seedWrite(w, http.StatusNotFound, seedDetail{"Job not found"})
}

func (s *Server) seedGroup(w http.ResponseWriter, r *http.Request) {
	jobs, err := s.Store.SeedGroup(r.Context(), qgjob.AppVersionID(r.PathValue("app_version_id")), qgjob.OrgID(r.URL.Query().Get("org_id")), callerOf(r.Context()).run)
	if err != nil {
		s.seedError(w, r, err)
		return
	}
	list := make([]seedJob, len(jobs))
	for i := range jobs {
		list[i] = newSeedJob(&jobs[i])
	}
	seedWrite(w, http.StatusOK, list)
}

func (s *Server) seedRegister(w http.ResponseWriter, r *http.Request) {
	form := readSeedForm(r)
	id, target := qgjob.AgentID(form.name("agent_id")), form.target("target")
	if s.refused(w, r, form) {
		return
	}
	who := callerOf(r.Context())
	if !qgjob.ServesAgent(who.agent, id) {
		s.seedError(w, r, otherAgent(who))
		return
	}
	agent, err := s.Store.RegisterSeed(r.Context(), who.org, id, target)
	if err != nil {
		s.seedError(w, r, err)
		return
	}
	seedWrite(w, http.StatusOK, seedRegistered{agent.AgentID, agent.Target, agent.Status})
}

func (s *Server) seedAgents(w http.ResponseWriter, r *http.Request) {
	agents, err := s.Store.Agents(r.Context())
	if err != nil {
		s.seedError(w, r, err)
		return
	}
	agents = callerOf(r.Context()).shownAgents(agents)
	list := make([]seedAgent, len(agents))
	for i, a := range agents {
		list[i] = seedAgent{a.AgentID, a.Target, a.Status, a.AssignedGroup}
	}
	seedWrite(w, http.StatusOK, list)
}

func (s *Server) seedAssign(w http.ResponseWriter, r *http.Request) {
	form := readSeedForm(r)
	agent, version := qgjob.AgentID(form.name("agent_id")), qgjob.AppVersionID(form.name("app_version_id"))
	if s.refused(w, r, form) {
		return
	}
	err := s.admitShown(callerOf(r.Context()), ownerManaged, agent, r)
	if err == nil {
		err = s.Store.Assign(r.Context(), agent, version)
	}
	switch kind := qgjob.KindOf(err); {
	case kind == qgjob.KindConflict || kind == qgjob.KindNotFound:
		seedWrite(w, http.StatusBadRequest, seedDetail{"Agent not available or already busy"})
	case err != nil:
		s.seedError(w, r, err)
	default:
		seedWrite(w, http.StatusOK, struct {
			Message string `json:"message"`
		}{fmt.Sprintf("Group %s assigned to agent %s", version, agent)})
	}
}

// seedError answers an error that the seed did not know: in its shape, with
// the status of the one table, and nothing of a fault's inside.
func (s *Server) seedError(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*qgjob.Error](err)
	if !ok || e.Kind == qgjob.KindInternal {
		s.Log.ErrorContext(r.Context(), "request failed", "request", requestID(r.Context()), "error", err)
		seedWrite(w, http.StatusInternalServerError, seedDetail{"Internal Server Error"})
		return
	}
	if e.Kind == qgjob.KindUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	seedWrite(w, statusOf(e), seedDetail{e.Message})
}

// seedWrite writes compact JSON without a line end, as FastAPI does. The
// values are ours and always marshal.
func seedWrite(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"detail":"Internal Server Error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
