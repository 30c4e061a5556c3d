package client

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qualgent/qgjob"
)

func TestWhatIsTriedAgain(t *testing.T) {
	submit := func(key string) func(*testing.T, *Client) error {
		return func(t *testing.T, c *Client) error {
			_, err := c.Submit(t.Context(), qgjob.SubmitRequest{OrgID: "o"}, key)
			return err
		}
	}
	job := func(t *testing.T, c *Client) error { _, err := c.Job(t.Context(), 1); return err }
	retry := func(t *testing.T, c *Client) error { _, err := c.RetryRun(t.Context(), 1); return err }
	claim := func(t *testing.T, c *Client) error {
		_, err := c.Claim(t.Context(), "a1", qgjob.ClaimRequest{ClaimID: "12345678"})
		return err
	}
	cut := -1 // the connection is closed without an answer
	for _, test := range []struct {
		name   string
		status int
		call   func(*testing.T, *Client) error
		want   int32 // requests until the answer
	}{
		{"read 503", 503, job, 3}, {"read 502", 502, job, 3}, {"read 504", 504, job, 3}, {"read 429", 429, job, 3}, {"read cut", cut, job, 3},
		{"read 500", 500, job, 1}, {"read 404", 404, job, 1}, {"read 422", 422, job, 1}, {"read 401", 401, job, 1},
		{"submit with key 503", 503, submit("k"), 3}, {"submit with key cut", cut, submit("k"), 3},
		{"submit without key 503", 503, submit(""), 1}, {"submit without key cut", cut, submit(""), 1},
		{"retry 503", 503, retry, 1}, {"retry cut", cut, retry, 1},
		{"claim 503", 503, claim, 3}, {"claim cut", cut, claim, 3}, {"claim 409", 409, claim, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n atomic.Int32
			c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				switch {
				case n.Add(1) > 2:
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, `{"job_id":"job_1","run_id":"run_1","group_id":"group_1"}`)
				case test.status == cut:
					panic(http.ErrAbortHandler)
				default:
					reply(w, test.status, map[string]string{"detail": "not now"})
				}
			})
			err := test.call(t, c)
			if n.Load() != test.want || (err == nil) != (test.want == 3) {
				t.Errorf("%d requests, want %d; error %v", n.Load(), test.want, err)
			}
		})
	}
}

func TestSubmitKeepsItsKeyAndBody(t *testing.T) {
	var keys, bodies []string
	c := serve(t, quick, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(text))
		if len(keys) == 1 {
			panic(http.ErrAbortHandler)
		}
		reply(w, 201, qgjob.SubmitResponse{RunID: 4, JobIDs: []qgjob.JobID{7}})
	})
	got, err := c.Submit(t.Context(), qgjob.SubmitRequest{OrgID: "o", Jobs: []qgjob.JobSpec{{TestPath: "a.js"}}}, "key-1")
	if err != nil || got.RunID != 4 || len(keys) != 2 || keys[1] != "key-1" || bodies[0] != bodies[1] || !strings.Contains(bodies[1], "a.js") {
		t.Errorf("%+v, %v, keys %q, bodies %q", got, err, keys, bodies)
	}
}

// bubble runs tries.again in virtual time.
func TestBudget(t *testing.T) {
	fail := &failure{err: errors.New("down"), transient: true}
	for _, test := range []struct {
		name     string
		budget   time.Duration
		after    time.Duration
		min, max time.Duration // when the last try gives up
	}{
		{"none", 0, 0, 0, 0},
		{"ten seconds", 10 * time.Second, 0, 5 * time.Second, 10 * time.Second},
		{"retry-after is obeyed", 10 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second},
		{"retry-after beyond the budget gives up at once", 10 * time.Second, time.Minute, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := *fail
				f.after = test.after
				try := tries{retry: Retry{Budget: test.budget}}
				start, n := time.Now(), 0
				for try.again(t.Context(), &f, true) == nil {
					n++
				}
				if took := time.Since(start); took < test.min || took > test.max {
					t.Errorf("gave up after %v and %d tries, want %v to %v", took, n, test.min, test.max)
				}
			})
		})
	}
}

func TestUnlimitedBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		try := tries{retry: Retry{Budget: Unlimited}}
		start := time.Now()
		for time.Since(start) < 48*time.Hour {
			if err := try.again(t.Context(), &failure{err: io.EOF, transient: true}, true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []error
		try := tries{retry: Retry{Budget: time.Hour, Notify: func(err error) { heard = append(heard, err) }}}
		down := &failure{err: io.ErrUnexpectedEOF, transient: true}
		try.progress()
		try.again(t.Context(), down, true)
		try.again(t.Context(), down, true)
		try.progress()
		try.progress()
		if len(heard) != 3 || !errors.Is(heard[0], io.ErrUnexpectedEOF) || heard[2] != nil {
			t.Errorf("heard %v, want two failures and one success", heard)
		}
	})
}

func TestBackoffBounds(t *testing.T) {
	r := Retry{Base: 100 * time.Millisecond, Max: 2 * time.Second}
	for n := range 70 {
		top := r.Max
		if n < 5 {
			top = min(r.Max, r.Base<<n)
		}
		for range 50 {
			if d := backoff(r, n); d <= 0 || d > top {
				t.Fatalf("back-off %v before try %d, want (0, %v]", d, n+2, top)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:25 GMT": 20 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
