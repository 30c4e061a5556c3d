package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// fake is a small server of the API in memory. Whole-program tests run the
// real one; here every answer can be chosen.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	changed chan struct{} // closed and made anew at every change
	jobs    []*qgjob.Job
	runs    map[qgjob.RunID]*qgjob.Run
	events  map[qgjob.RunID][]qgjob.Event
	keys    map[string]qgjob.SubmitResponse
	blobs   map[string][]byte
	apps    []qgjob.App
	agents  []qgjob.Agent
	groups  []qgjob.Group
	log     string
	seen    []string // method and path of every request
	submits []qgjob.SubmitRequest
	seq     int64

	onSubmit func(qgjob.RunID)                                 // called in a goroutine of its own
	deny     func(w http.ResponseWriter, r *http.Request) bool // answers instead
}

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		changed: make(chan struct{}), runs: map[qgjob.RunID]*qgjob.Run{}, events: map[qgjob.RunID][]qgjob.Event{},
		keys: map[string]qgjob.SubmitResponse{}, blobs: map[string][]byte{},
	}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			h(w, r)
		})
	}
	handle("POST /v1/runs", f.submit)
	handle("GET /v1/runs", f.listRuns)
	handle("GET /v1/runs/{id}", f.getRun)
	mux.HandleFunc("GET /v1/runs/{id}/events", f.stream)
	handle("POST /v1/runs/{id}/cancel", f.cancelRun)
	handle("POST /v1/runs/{id}/retry", f.retry)
	handle("GET /v1/runs/{id}/junit", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<testsuites/>\n") })
	handle("GET /v1/runs/{id}/report", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!doctype html>\n") })
	handle("GET /v1/jobs", f.listJobs)
	handle("GET /v1/jobs/{id}", f.getJob)
	handle("POST /v1/jobs/{id}/cancel", f.cancelJob)
	handle("POST /v1/jobs/{id}/retry", f.retry)
	handle("GET /v1/jobs/{id}/attempts", f.attempts)
	handle("GET /v1/jobs/{id}/log", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, f.log) })
	handle("GET /v1/jobs/{id}/log/events", f.liveLog)
	handle("GET /v1/groups", func(w http.ResponseWriter, _ *http.Request) { give(w, 200, qgjob.Page[qgjob.Group]{Items: f.groups}) })
	handle("GET /v1/agents", func(w http.ResponseWriter, _ *http.Request) { give(w, 200, qgjob.Page[qgjob.Agent]{Items: f.agents}) })
	handle("POST /v1/agents/{id}/{verb}", f.drain)
	handle("GET /v1/apps", func(w http.ResponseWriter, _ *http.Request) { give(w, 200, qgjob.Page[qgjob.App]{Items: f.apps}) })
	handle("PUT /v1/apps/{org}/{version}", f.putApp)
	handle("GET /v1/blobs/{sum}/info", func(w http.ResponseWriter, r *http.Request) { give(w, 200, f.blob(r.PathValue("sum"))) })
	handle("PATCH /v1/blobs/{sum}", f.patch)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.Path)
		deny := f.deny
		f.mu.Unlock()
		if deny == nil || !deny(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func give(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, kind qgjob.Kind, code, detail string) {
	give(w, status, map[string]string{"kind": string(kind), "code": code, "detail": detail})
}

func (f *fake) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// add makes a run of jobs. The caller holds the lock, or is alone.
func (f *fake) add(specs ...qgjob.JobSpec) qgjob.SubmitResponse {
	id := qgjob.RunID(len(f.runs) + 1)
	f.runs[id] = &qgjob.Run{RunID: id, OrgID: "qualgent", SubmittedAt: day}
	got := qgjob.SubmitResponse{RunID: id}
	for _, s := range specs {
		s = s.WithDefaults()
		job := &qgjob.Job{JobID: qgjob.JobID(len(f.jobs) + 1), RunID: id, OrgID: "qualgent", AppVersionID: s.AppVersionID, TestPath: s.TestPath,
			Target: s.Target, Priority: s.Priority, Status: qgjob.Queued, GroupID: 1, SubmittedAt: day}
		f.jobs = append(f.jobs, job)
		got.JobIDs = append(got.JobIDs, job.JobID)
	}
	f.settle(id)
	return got
}

// plain makes a run of tests before any command runs.
func (f *fake) plain(tests ...string) qgjob.SubmitResponse {
	var specs []qgjob.JobSpec
	for _, p := range tests {
		specs = append(specs, qgjob.JobSpec{AppVersionID: "xyz123", TestPath: p, Target: qgjob.TargetBrowser})
	}
	return f.add(specs...)
}

// settle brings a run's figures up to date.
func (f *fake) settle(id qgjob.RunID) {
	run := f.runs[id]
	run.Tally = qgjob.Tally{}
	for _, j := range f.jobs {
		if j.RunID == id {
			add(&run.Tally, *j)
		}
	}
	if c := run.Tally.Conclude(); c != "" && run.Conclusion == "" {
		run.Conclusion = c
		f.event(qgjob.Event{Kind: qgjob.EventRunFinished, RunID: id, Final: c})
	}
	f.change()
}

func (f *fake) event(e qgjob.Event) {
	f.seq++
	e.Seq, e.At = f.seq, day.Add(time.Duration(f.seq)*time.Second)
	f.events[e.RunID] = append(f.events[e.RunID], e)
	f.change()
}

// end finishes a job on agent a1 after an install that was done or avoided.
func (f *fake) end(id qgjob.JobID, state qgjob.JobState, reason qgjob.Reason, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id-1]
	install := qgjob.InstallAvoided
	if f.runs[j.RunID].Installs == 0 {
		install = qgjob.InstallDone
		f.runs[j.RunID].Installs++
		f.runs[j.RunID].InstallMS = 1200
	} else {
		f.runs[j.RunID].InstallsAvoided++
	}
	f.event(qgjob.Event{Kind: qgjob.EventJobStarted, RunID: j.RunID, JobID: &id, TestPath: j.TestPath, Status: qgjob.Running, AgentID: "a1", Attempt: 1})
	at, done := day.Add(2*time.Second), day.Add(5*time.Second)
	j.Status, j.Reason, j.Message, j.AgentID, j.Attempts, j.StartedAt, j.FinishedAt = state, reason, message, "a1", 1, &at, &done
	f.event(qgjob.Event{Kind: qgjob.EventJobFinished, RunID: j.RunID, JobID: &id, TestPath: j.TestPath, Status: state, AgentID: "a1",
		Reason: reason, Message: message, Flaky: j.Flaky, Install: install, InstallMS: 1200, TestMS: 3000})
	f.settle(j.RunID)
}

func (f *fake) submit(w http.ResponseWriter, r *http.Request) {
	var req qgjob.SubmitRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		problem(w, 400, qgjob.KindInvalid, "", err.Error())
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if got, ok := f.keys[key]; ok {
		got.Repeat = true
		give(w, 200, got)
		return
	}
	f.submits = append(f.submits, req)
	got := f.add(req.Jobs...)
	f.keys[key] = got
	give(w, 201, got)
	if f.onSubmit != nil {
		go f.onSubmit(got.RunID)
	}
}

func (f *fake) retry(w http.ResponseWriter, r *http.Request) {
	give(w, 201, f.plain("tests/again.spec.js"))
}

func (f *fake) run(r *http.Request) *qgjob.Run {
	id, _ := qgjob.ParseRunID(r.PathValue("id"))
	return f.runs[id]
}

func (f *fake) job(r *http.Request) *qgjob.Job {
	id, err := qgjob.ParseJobID(r.PathValue("id"))
	if err != nil || int(id) > len(f.jobs) {
		return nil
	}
	return f.jobs[id-1]
}

func (f *fake) getRun(w http.ResponseWriter, r *http.Request) {
	if run := f.run(r); run != nil {
		give(w, 200, run)
		return
	}
	problem(w, 404, qgjob.KindNotFound, "", "run "+r.PathValue("id")+" is not known")
}

func (f *fake) getJob(w http.ResponseWriter, r *http.Request) {
	if j := f.job(r); j != nil {
		give(w, 200, j)
		return
	}
	problem(w, 404, qgjob.KindNotFound, "", "job "+r.PathValue("id")+" is not known")
}

func (f *fake) listRuns(w http.ResponseWriter, _ *http.Request) {
	p := qgjob.Page[qgjob.Run]{Items: []qgjob.Run{}}
	for id := len(f.runs); id > 0; id-- {
		p.Items = append(p.Items, *f.runs[qgjob.RunID(id)])
	}
	give(w, 200, p)
}

func (f *fake) listJobs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("cursor"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	p := qgjob.Page[qgjob.Job]{Items: []qgjob.Job{}}
	for i, j := range f.jobs {
		if i < from || (q.Get("run_id") != "" && q.Get("run_id") != j.RunID.String()) ||
			(q.Get("status") != "" && !slices.Contains(strings.Split(q.Get("status"), ","), string(j.Status))) {
			continue
		}
		if len(p.Items) == limit {
			p.Cursor = strconv.Itoa(i)
			break
		}
		p.Items = append(p.Items, *j)
	}
	give(w, 200, p)
}

func (f *fake) cancelRun(w http.ResponseWriter, r *http.Request) {
	run := f.run(r)
	if run == nil || run.Conclusion != "" {
		problem(w, 409, qgjob.KindConflict, qgjob.CodeTerminal, r.PathValue("id")+" has ended")
		return
	}
	for _, j := range f.jobs {
		if j.RunID == run.RunID && !j.Status.Terminal() {
			j.Status, j.Reason = qgjob.Cancelled, qgjob.ReasonCancelled
			f.event(qgjob.Event{Kind: qgjob.EventJobFinished, RunID: j.RunID, JobID: &j.JobID, Status: j.Status, Reason: j.Reason})
		}
	}
	f.settle(run.RunID)
	give(w, 200, run)
}

func (f *fake) cancelJob(w http.ResponseWriter, r *http.Request) {
	j := f.job(r)
	if j == nil {
		f.getJob(w, r)
		return
	}
	if j.Status.Terminal() {
		problem(w, 409, qgjob.KindConflict, qgjob.CodeTerminal, j.JobID.String()+" has ended already: "+string(j.Status))
		return
	}
	j.Status = qgjob.Cancelling
	f.settle(j.RunID)
	give(w, 200, j)
}

func (f *fake) attempts(w http.ResponseWriter, r *http.Request) {
	give(w, 200, qgjob.Page[qgjob.Attempt]{Items: []qgjob.Attempt{{JobID: f.job(r).JobID, Number: 1, Install: qgjob.InstallDone, InstallMS: 700}}})
}

func (f *fake) liveLog(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, text := range []string{"one\n", "two\n"} {
		data, _ := json.Marshal(map[string]any{"attempt": i + 1, "offset": 0, "text": text})
		fmt.Fprintf(w, "id: %d:4\nevent: log\ndata: %s\n\n", i+1, data)
	}
	io.WriteString(w, "id: 2:4\nevent: end\ndata: {}\n\n")
}

func (f *fake) drain(w http.ResponseWriter, r *http.Request) {
	for i := range f.agents {
		if string(f.agents[i].AgentID) == r.PathValue("id") {
			f.agents[i].Status = map[string]qgjob.AgentState{"drain": qgjob.AgentDraining, "undrain": qgjob.AgentIdle}[r.PathValue("verb")]
			give(w, 200, f.agents[i])
			return
		}
	}
	problem(w, 404, qgjob.KindNotFound, "", "agent "+r.PathValue("id")+" is not known")
}

func (f *fake) putApp(w http.ResponseWriter, r *http.Request) {
	var in struct {
		SHA256   qgjob.Sum `json:"sha256"`
		FileName string    `json:"file_name"`
	}
	json.NewDecoder(r.Body).Decode(&in)
	app := qgjob.App{OrgID: qgjob.OrgID(r.PathValue("org")), AppVersionID: qgjob.AppVersionID(r.PathValue("version")),
		SHA256: in.SHA256, FileName: in.FileName, Size: int64(len(f.blobs[string(in.SHA256)])), UploadedAt: day}
	f.apps = append(f.apps, app)
	give(w, 200, app)
}

func (f *fake) blob(sum string) qgjob.BlobInfo {
	got := sha256.Sum256(f.blobs[sum])
	return qgjob.BlobInfo{SHA256: qgjob.Sum(sum), Received: int64(len(f.blobs[sum])), Complete: hex.EncodeToString(got[:]) == sum}
}

func (f *fake) patch(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(r.Body)
	f.blobs[r.PathValue("sum")] = append(f.blobs[r.PathValue("sum")], text...)
	give(w, 200, f.blob(r.PathValue("sum")))
}

// stream sends a run's events as they come.
func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	id, _ := qgjob.ParseRunID(r.PathValue("id"))
	last, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	f.mu.Lock()
	known := f.runs[id] != nil
	f.mu.Unlock()
	if !known {
		problem(w, 404, qgjob.KindNotFound, "", id.String()+" is not known")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		f.mu.Lock()
		events, changed := slices.Clone(f.events[id]), f.changed
		f.mu.Unlock()
		for _, e := range events {
			if e.Seq <= last {
				continue
			}
			last = e.Seq
			text, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, text)
			if e.Kind == qgjob.EventRunFinished {
				return
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// requests is how often a route was asked.
func (f *fake) requests(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.seen {
		if strings.HasPrefix(s, what) {
			n++
		}
	}
	return n
}

// program is one command line about to run in a folder of its own.
type program struct {
	t       *testing.T
	dir     string
	env     []string
	signals chan os.Signal
	out     *watched
	err     *watched
}

func newProgram(t *testing.T, server string) *program {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &program{
		t: t, dir: dir, env: []string{"QGJOB_SERVER=" + server, "QGJOB_RETRY_FOR=0s", "QGJOB_TOKEN=s3cret"},
		signals: make(chan os.Signal, 4), out: newWatched(), err: newWatched(),
	}
}

// run runs the command line and returns its exit code and what it printed.
func (p *program) run(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	a := &app{printer: newPrinter(p.out, p.err, p.env), in: strings.NewReader(""), env: envMap(p.env), dir: p.dir, exit: func(int) { panic("exit") }}
	code = a.main(args, p.signals)
	return code, p.out.String(), p.err.String()
}

func (p *program) write(name, text string) {
	p.t.Helper()
	full := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// watched is a buffer that can be waited on.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	grew chan struct{}
}

func newWatched() *watched { return &watched{grew: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.grew)
	w.grew = make(chan struct{})
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// await blocks until the text was printed.
func (w *watched) await(t *testing.T, text string) {
	for {
		w.mu.Lock()
		grew, has := w.grew, strings.Contains(w.b.String(), text)
		w.mu.Unlock()
		if has {
			return
		}
		select {
		case <-grew:
		case <-t.Context().Done():
			return
		}
	}
}
