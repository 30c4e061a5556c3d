package server

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
	"github.com/qualgent/qgjob/internal/server/oidc"
	"github.com/qualgent/qgjob/internal/server/oidc/oidctest"
)

// ciJob is a job of GitHub Actions that talks to a real server which trusts its
// repository, all in memory.
type ciJob struct {
	*rig
	github *oidctest.GitHub
	ci     *client.Client

	mu    sync.Mutex
	noted []error // what the job's retry policy was told
}

func newCIJob(t *testing.T) *ciJob {
	t.Helper()
	if past := time.Date(2001, 9, 10, 0, 0, 0, 0, time.UTC); time.Now().Before(past) {
		time.Sleep(time.Until(past)) //budget:allow a bubble's clock begins in 2000, where no id-token is of
	}
	j := &ciJob{rig: newRig(t, rigOptions{loops: true}), github: oidctest.New()}
	var err error
	j.OIDC, err = oidc.New(oidc.Config{Issuer: j.github.URL, Audience: "https://q.example", Trust: []oidc.Trust{{RepositoryID: oidctest.RepositoryID, RepositoryOwnerID: oidctest.RepositoryOwnerID, OrgID: "acme"}}},
		&http.Client{Transport: j.github})
	check(t, err)
	request := client.Actions{URL: j.github.RequestURL(), Token: oidctest.RequestToken, Audience: "https://q.example", HTTP: j.github}
	j.ci, err = client.New("http://memory", client.Options{HTTP: j.client, IDToken: request.IDToken, Retry: client.Retry{Budget: 5 * time.Minute, Notify: func(err error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if err != nil {
			j.noted = append(j.noted, err)
		}
	}}})
	check(t, err)
	return j
}

func (j *ciJob) told() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.noted)
}

// submits gives the run that the job submits.
func (j *ciJob) submits() qgjob.RunID {
	j.t.Helper()
	got, err := j.ci.Submit(j.t.Context(), qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "a.js")}}, "key")
	check(j.t, err)
	return got.RunID
}

// follows reads the run's events until the last; what it gives is closed then.
func (j *ciJob) follows(id qgjob.RunID) (kinds *[]string, over chan error) {
	kinds, over = &[]string{}, make(chan error, 1)
	go func() {
		for e, err := range j.ci.RunEvents(j.t.Context(), id, 0) {
			if err != nil {
				over <- err
				return
			}
			*kinds = append(*kinds, string(e.Kind))
		}
		over <- nil
	}()
	return kinds, over
}

// TestSignInOutlivesTheToken: a wait of an hour by a job whose token lives for 15
// minutes. It loses no event and sees none twice, and nobody is told of trouble:
// there was none.
func TestSignInOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newCIJob(t)
		id := j.submits()
		kinds, over := j.follows(id)
		time.Sleep(time.Hour)
		if asked := j.github.Asked.Load(); asked < 4 || asked > 6 {
			t.Errorf("%d id-tokens in an hour", asked)
		}
		_, err := j.ci.CancelRun(t.Context(), id)
		check(t, err)
		check(t, <-over)
		if got := strings.Join(*kinds, " "); got != "run.submitted job.finished run.finished" {
			t.Errorf("events %s", got)
		}
		if n := j.told(); n != 0 {
			t.Errorf("told %d times of trouble: %v", n, j.noted)
		}
		if got := j.github.Audience.Load(); got != "https://q.example" {
			t.Errorf("for %v", got)
		}
	})
}

// TestSignInWaitsForGitHub: GitHub gives no id-tokens around the end of the
// first one. Until it is over the first is used; then the wait goes on within
// its patience, and afterwards as if nothing had been.
func TestSignInWaitsForGitHub(t *testing.T) {
	for _, away := range []string{"the address for jobs", "the issuer"} {
		t.Run(away, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newCIJob(t)
				id := j.submits()
				kinds, over := j.follows(id)
				time.Sleep(13*time.Minute + 30*time.Second)
				if away == "the issuer" { // its keys are known for a day: nothing is lost at all
					j.github.Down.Store(true)
				} else {
					j.github.Mute.Store(true)
				}
				time.Sleep(80 * time.Second) // to 14:50
				if n := j.told(); n != 0 {
					t.Errorf("the first token is valid still, and %d times there was trouble: %v", n, j.noted)
				}
				time.Sleep(2 * time.Minute)
				if n := j.told(); (n > 0) != (away != "the issuer") {
					t.Errorf("told %d times of trouble: %v", n, j.noted)
				}
				j.github.Mute.Store(false)
				j.github.Down.Store(false)
				time.Sleep(20 * time.Minute)
				_, err := j.ci.CancelRun(t.Context(), id)
				check(t, err)
				check(t, <-over)
				if got := strings.Join(*kinds, " "); got != "run.submitted job.finished run.finished" {
					t.Errorf("events %s", got)
				}
			})
		})
	}
}

// TestSignInGivesUp: without GitHub for longer than the patience of the wait.
func TestSignInGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newCIJob(t)
		_, over := j.follows(j.submits())
		time.Sleep(10 * time.Minute)
		j.github.Mute.Store(true)
		began := time.Now()
		err := <-over
		if qgjob.KindOf(err) != qgjob.KindUnavailable || !strings.Contains(err.Error(), "GitHub Actions gives no id-token") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took < 9*time.Minute || took > 11*time.Minute {
			t.Errorf("given up after %v", took)
		}
	})
}

// TestSignInRefused: what the server says of a true id-token that it does not
// trust reaches the caller, and nothing is tried again.
func TestSignInRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(j *ciJob)
		says   string
	}{
		"another audience":   {func(j *ciJob) { j.OIDC.Audience = "https://another.example" }, "meant for somebody else"},
		"another repository": {func(j *ciJob) { j.OIDC.Trust[0].RepositoryID = "75" }, "does not trust this repository (ask its admin to trust repository_id 74"},
		"an event":           {func(j *ciJob) { j.github.Change = func(c map[string]any) { c["event_name"] = "workflow_run" } }, "its event is not one"},
		"too old":            {func(j *ciJob) { j.github.Change = func(c map[string]any) { c["exp"] = time.Now().Unix() - 60 } }, "has expired"},
		"trusts nobody":      {func(j *ciJob) { j.OIDC, j.Token = nil, "the server's own token" }, "trusts no id-tokens of CI"},
		"used before": {func(j *ciJob) {
			j.github.Change = func(c map[string]any) { c["jti"] = "always the same" }
			_ = must[qgjob.OIDCResponse](j.rig, 201, "POST", "/v1/oidc/token", qgjob.OIDCRequest{IDToken: j.github.Token("https://q.example", time.Now())})
		}, "used before"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newCIJob(t)
			test.change(j)
			_, err := j.ci.Jobs(t.Context(), qgjob.JobFilter{OrgID: "acme"}, "")
			if qgjob.KindOf(err) != qgjob.KindDenied || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
			if n := j.told(); n != 0 || j.github.Asked.Load() != 1 {
				t.Errorf("told %d times of trouble, asked for %d id-tokens", n, j.github.Asked.Load())
			}
		})
	}
}

// TestSignInIsOneForAll: many calls at once, of all copies of a client, need
// one id-token; a server that asks for no token gets none.
func TestSignInIsOneForAll(t *testing.T) {
	j := newCIJob(t)
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if _, err := j.ci.With(client.NoRetry).Jobs(t.Context(), qgjob.JobFilter{}, ""); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := j.github.Asked.Load(); n != 1 {
		t.Errorf("%d id-tokens", n)
	}
	open := newCIJob(t)
	open.OIDC = nil
	open.submits()
	if n := open.github.Asked.Load(); n != 0 {
		t.Errorf("an open server got %d id-tokens", n)
	}
}
