package script_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

const (
	killJobs   = 200
	killAgents = 4
)

// TestKillRounds kills server and agents by SIGKILL at random moments while
// 200 jobs run: none may be lost, none may end twice, every verdict must be
// right. QGJOB_KILL_ROUNDS says how often; the seed is printed.
func TestKillRounds(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("kill rounds take a while: set QGJOB_SLOW=1")
	}
	rounds, err := strconv.Atoi(os.Getenv("QGJOB_KILL_ROUNDS"))
	if err != nil {
		rounds = 2
	}
	runKillRounds(t, rounds)
}

// TestKillOnce is one round for every run of the tests.
func TestKillOnce(t *testing.T) { runKillRounds(t, 1) }

func runKillRounds(t *testing.T, rounds int) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("QGJOB_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("QGJOB_SEED=%d", seed)
	var sum killReport
	for round := range rounds {
		f := &killFarm{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(seed, uint64(round)))}
		f.run()
		f.check()
		sum.add(f.killReport)
	}
	t.Logf("%d rounds: %d jobs accepted, 0 lost, 0 ended twice; killed: server %d times, agents %d times; %d attempts lost, %d tests ran more than once, %d errored after three lost agents",
		rounds, sum.jobs, sum.serverKills, sum.agentKills, sum.lostAttempts, sum.reruns, sum.poisoned)
}

// killReport counts what a round did and found.
type killReport struct{ jobs, serverKills, agentKills, lostAttempts, reruns, poisoned int }

func (r *killReport) add(o killReport) {
	r.jobs += o.jobs
	r.serverKills += o.serverKills
	r.agentKills += o.agentKills
	r.lostAttempts += o.lostAttempts
	r.reruns += o.reruns
	r.poisoned += o.poisoned
}

// killFarm is one round's server and agents.
type killFarm struct {
	killReport
	t      *testing.T
	dir    string
	rnd    *rand.Rand
	addr   string
	server *program
	agents [killAgents]*program
	ids    []qgjob.JobID
	runs   []qgjob.RunID
}

func (f *killFarm) run() {
	f.addr = "127.0.0.1:0"
	f.startServer()
	defer func() { f.server.kill() }()
	for i := range f.agents {
		f.startAgent(i)
		defer func() { f.agents[i].kill() }()
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Minute)
	defer cancel()
	submitted := make(chan error, 1)
	go func() { submitted <- f.submit(ctx) }()
	accepted := false
	for !accepted || !f.allEnded(ctx) {
		select {
		case err := <-submitted:
			if err != nil {
				f.t.Fatalf("submit: %v", err)
			}
			accepted, submitted = true, nil
		case <-time.After(time.Duration(100+f.rnd.IntN(500)) * time.Millisecond): //budget:allow the moment of a kill is random
			f.killOne()
		case <-ctx.Done():
			f.t.Fatalf("jobs had not ended after 5 minutes: %s", f.open())
		}
	}
}

func (f *killFarm) startServer() {
	p, err := start(f.dir, "server", "--listen", f.addr, "--data-dir", filepath.Join(f.dir, "data"), "--lease-ttl", "1500ms")
	if err != nil {
		f.t.Fatal(err)
	}
	url, err := p.await(listening)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server, f.addr = p, strings.TrimPrefix(url, "http://")
}

func (f *killFarm) startAgent(i int) {
	name := fmt.Sprintf("a%d", i+1)
	p, err := start(f.dir, "agent", "--server", "http://"+f.addr, "--name", name, "--target", "emulator", "--state-dir", filepath.Join(f.dir, name), "--project", f.dir,
		"--runner", "exec", "--", testBinary(), testJob, filepath.Join(f.dir, "journal"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.agents[i] = p
}

func (f *killFarm) killOne() {
	if f.rnd.IntN(3) == 0 {
		f.server.kill()
		f.serverKills++
		f.startServer()
		return
	}
	i := f.rnd.IntN(killAgents)
	f.agents[i].kill()
	f.agentKills++
	f.startAgent(i)
}

func (f *killFarm) client() *client.Client {
	c, err := client.New("http://"+f.addr, client.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// submit sends the jobs in runs of ten. An answer that was lost is asked for
// again with the same key, as a CI job would.
func (f *killFarm) submit(ctx context.Context) error {
	for n := 0; n < killJobs; n += 10 {
		req := qgjob.SubmitRequest{OrgID: "acme"}
		for i := range 10 {
			kind := "pass"
			if (n+i)%9 == 4 {
				kind = "fail"
			}
			req.Jobs = append(req.Jobs, qgjob.JobSpec{AppVersionID: qgjob.AppVersionID(fmt.Sprintf("v%d", (n/10)%3)), Target: "emulator",
				TestPath: fmt.Sprintf("tests/%s-%d-%d", kind, 20+f.rndFor(n+i), n+i)})
		}
		for {
			resp, err := f.client().Submit(ctx, req, fmt.Sprintf("round-%d", n))
			if err == nil {
				f.ids = append(f.ids, resp.JobIDs...)
				f.runs = append(f.runs, resp.RunID)
				break
			}
			if ctx.Err() != nil || qgjob.KindOf(err) != qgjob.KindUnavailable {
				return err
			}
		}
	}
	f.jobs = len(f.ids)
	return nil
}

// rndFor is a duration that depends on the job only: submit runs beside the
// killer and must not share its random numbers.
func (f *killFarm) rndFor(n int) int { return n * 37 % 60 }

func (f *killFarm) list(ctx context.Context) ([]qgjob.Job, error) {
	jobs, _, err := f.client().AllJobs(ctx, qgjob.JobFilter{OrgID: "acme"}, 10*killJobs)
	return jobs, err
}

func (f *killFarm) allEnded(ctx context.Context) bool {
	jobs, err := f.list(ctx)
	if err != nil {
		return false // the server may just have been killed
	}
	for _, j := range jobs {
		if !j.Status.Terminal() {
			return false
		}
	}
	return len(jobs) == killJobs
}

func (f *killFarm) open() string {
	jobs, err := f.list(context.Background())
	var b strings.Builder
	fmt.Fprintf(&b, "%d jobs, error %v\n", len(jobs), err)
	for _, j := range jobs {
		if !j.Status.Terminal() {
			fmt.Fprintf(&b, "%s %s %s on %s, %d starts\n", j.JobID, j.Status, j.Reason, j.AgentID, j.Attempts)
		}
	}
	out, _ := f.server.out.state()
	return b.String() + out
}

// check compares the server's word with the journal of what really ran.
func (f *killFarm) check() {
	f.startServer()
	defer func() { f.server.kill() }()
	ctx := f.t.Context()
	jobs, err := f.list(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(jobs) != killJobs || len(f.ids) != killJobs {
		f.t.Fatalf("%d jobs were accepted, the server knows %d, wanted %d", len(f.ids), len(jobs), killJobs)
	}
	ran := f.journal()
	for _, j := range jobs {
		want := qgjob.Passed
		if strings.HasPrefix(j.TestPath, "tests/fail") {
			want = qgjob.Failed
		}
		attempts, err := f.client().Attempts(ctx, j.JobID)
		if err != nil {
			f.t.Fatal(err)
		}
		lost := 0
		for _, a := range attempts {
			if a.Outcome == qgjob.OutcomeLost {
				lost++
			}
		}
		f.lostAttempts += lost
		if ran["end "+j.JobID.String()] > 1 {
			f.reruns++
		}
		switch {
		case j.Status == qgjob.Errored && lost >= qgjob.MaxInfraFails:
			f.poisoned++
		case j.Status != want:
			f.t.Errorf("%s (%s) is %s (%s, %s), want %s", j.JobID, j.TestPath, j.Status, j.Reason, j.Message, want)
		case ran["end "+j.JobID.String()] == 0:
			f.t.Errorf("%s is %s, but its test never came to its end", j.JobID, j.Status)
		case lost == 0 && ran["begin "+j.JobID.String()] > 1:
			f.t.Errorf("%s ran %d times without a lost lease", j.JobID, ran["begin "+j.JobID.String()])
		}
	}
	f.checkEvents(ctx)
}

// checkEvents: each job ends exactly once in the event stream, each run too.
func (f *killFarm) checkEvents(ctx context.Context) {
	ended := map[qgjob.JobID]int{}
	for _, run := range f.runs {
		finished := 0
		for e, err := range f.client().RunEvents(ctx, run, 0) {
			if err != nil {
				f.t.Fatal(err)
			}
			switch e.Kind {
			case qgjob.EventJobFinished:
				ended[*e.JobID]++
			case qgjob.EventRunFinished:
				finished++
			}
		}
		if finished != 1 {
			f.t.Errorf("%s finished %d times", run, finished)
		}
	}
	for _, id := range f.ids {
		if ended[id] != 1 {
			f.t.Errorf("%s ended %d times", id, ended[id])
		}
	}
}

func (f *killFarm) journal() map[string]int {
	text, err := os.ReadFile(filepath.Join(f.dir, "journal"))
	if err != nil {
		f.t.Fatal(err)
	}
	ran := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if w := strings.Fields(line); len(w) == 4 {
			ran[w[0]+" "+w[1]]++
		}
	}
	return ran
}
