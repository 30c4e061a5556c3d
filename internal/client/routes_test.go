package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// route is a method of the client and the request that it must make.
type route struct {
	want string // method, path and query as sent
	body string // part of the body as sent
	call func(context.Context, *Client) error
}

const routeLease = qgjob.LeaseID("0123456789abcdef0123456789abcdef")

func drop(_ any, err error) error { return err }

// TestRoutes holds every method against its row of the API.
func TestRoutes(t *testing.T) {
	for _, rows := range [][]route{jobRoutes(), fleetRoutes(), protocolRoutes()} {
		for _, row := range rows {
			t.Run(row.want, func(t *testing.T) { checkRoute(t, row) })
		}
	}
}

func checkRoute(t *testing.T, test route) {
	var got, body, token, agent string
	c := serve(t, NoRetry, func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			got += "?" + r.URL.RawQuery
		}
		text, _ := io.ReadAll(r.Body)
		body, token, agent = string(text), r.Header.Get("Authorization"), r.UserAgent()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{}`)
	})
	if err := test.call(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got != test.want || !strings.Contains(body, test.body) || (test.body == "" && body != "") {
		t.Errorf("sent %s with %q\nwant %s with %q", got, body, test.want, test.body)
	}
	if token != "Bearer s3cret" || agent != "qgjob/test" {
		t.Errorf("token %q, agent %q", token, agent)
	}
}

// jobRoutes are the rows of runs and jobs.
func jobRoutes() []route {
	return []route{
		{"POST /v1/runs", `"org_id":"o"`, func(x context.Context, c *Client) error {
			return drop(c.Submit(x, qgjob.SubmitRequest{OrgID: "o"}, ""))
		}},
		{"GET /v1/runs?cursor=c&limit=9&org_id=o+1", "", func(x context.Context, c *Client) error { return drop(c.Runs(x, "o 1", "c", 9)) }},
		{"GET /v1/runs/run_3", "", func(x context.Context, c *Client) error { return drop(c.Run(x, 3)) }},
		{"POST /v1/runs/run_3/cancel", "{}", func(x context.Context, c *Client) error { return drop(c.CancelRun(x, 3)) }},
		{"POST /v1/runs/run_3/retry", "{}", func(x context.Context, c *Client) error { return drop(c.RetryRun(x, 3)) }},
		{"GET /v1/runs/run_3/junit", "", func(x context.Context, c *Client) error { return drop(c.JUnit(x, 3)) }},
		{"GET /v1/runs/run_3/report", "", func(x context.Context, c *Client) error { return drop(c.Report(x, 3)) }},
		{"GET /v1/jobs?agent_id=a1&app_version_id=v&limit=5&org_id=o&run_id=run_3&status=queued%2Crunning&target=device", "",
			func(x context.Context, c *Client) error {
				return drop(c.Jobs(x, qgjob.JobFilter{OrgID: "o", RunID: 3, AppVersionID: "v", AgentID: "a1", Target: "device",
					Status: []qgjob.JobState{qgjob.Queued, qgjob.Running}, Limit: 5}, ""))
			}},
		{"GET /v1/jobs", "", func(x context.Context, c *Client) error { return drop(c.Jobs(x, qgjob.JobFilter{}, "")) }},
		{"GET /v1/jobs/job_7", "", func(x context.Context, c *Client) error { return drop(c.Job(x, 7)) }},
		{"POST /v1/jobs/job_7/cancel", "{}", func(x context.Context, c *Client) error { return drop(c.CancelJob(x, 7)) }},
		{"POST /v1/jobs/job_7/retry", "{}", func(x context.Context, c *Client) error { return drop(c.RetryJob(x, 7)) }},
		{"GET /v1/jobs/job_7/attempts", "", func(x context.Context, c *Client) error { return drop(c.Attempts(x, 7)) }},
		{"GET /v1/jobs/job_7/artifacts", "", func(x context.Context, c *Client) error { return drop(c.Artifacts(x, 7)) }},
	}
}

// fleetRoutes are the rows of groups, agents, apps, orgs and blobs.
func fleetRoutes() []route {
	sum := qgjob.Sum(strings.Repeat("a", 64))
	return []route{
		{"GET /v1/groups?org_id=o", "", func(x context.Context, c *Client) error { return drop(c.Groups(x, "o")) }},
		{"POST /v1/tokens", `"kind":"read","org_id":"o"`, func(x context.Context, c *Client) error {
			return drop(c.CreateToken(x, qgjob.CreateTokenRequest{Kind: qgjob.TokenRead, OrgID: "o"}))
		}},
		{"GET /v1/tokens", "", func(x context.Context, c *Client) error { return drop(c.Tokens(x, "")) }},
		{"GET /v1/tokens?org_id=o", "", func(x context.Context, c *Client) error { return drop(c.Tokens(x, "o")) }},
		{"POST /v1/tokens/tok_1%2F/revoke", "{}", func(x context.Context, c *Client) error { return drop(c.RevokeToken(x, "tok_1/")) }},
		{"POST /v1/tokens/join", `"agent_id":"a1"`, func(x context.Context, c *Client) error {
			return drop(c.Join(x, qgjob.JoinRequest{AgentID: "a1", SHA256: sum}))
		}},
		{"GET /v1/agents", "", func(x context.Context, c *Client) error { return drop(c.Agents(x)) }},
		{"GET /v1/agents/a%2F1", "", func(x context.Context, c *Client) error { return drop(c.Agent(x, "a/1")) }},
		{"POST /v1/agents/a1/drain", "{}", func(x context.Context, c *Client) error { return drop(c.Drain(x, "a1")) }},
		{"POST /v1/agents/a1/undrain", "{}", func(x context.Context, c *Client) error { return drop(c.Undrain(x, "a1")) }},
		{"GET /v1/apps?org_id=o", "", func(x context.Context, c *Client) error { return drop(c.Apps(x, "o")) }},
		{"PUT /v1/apps/o/1.0%20beta%3F", `"file_name":"shop.apk"`, func(x context.Context, c *Client) error {
			return drop(c.PutApp(x, "o", "1.0 beta?", sum, "shop.apk"))
		}},
		{"POST /v1/webhooks", `"url":"https://x"`, func(x context.Context, c *Client) error {
			return drop(c.CreateWebhook(x, qgjob.WebhookRequest{OrgID: "o", URL: "https://x"}))
		}},
		{"GET /v1/webhooks?org_id=o", "", func(x context.Context, c *Client) error { return drop(c.Webhooks(x, "o")) }},
		{"DELETE /v1/webhooks/o/wh_1", "", func(x context.Context, c *Client) error { return c.DeleteWebhook(x, "o", "wh_1") }},
		{"GET /v1/orgs/o", "", func(x context.Context, c *Client) error { return drop(c.Org(x, "o")) }},
		{"PUT /v1/orgs/o", `"quota":5`, func(x context.Context, c *Client) error { return drop(c.PutOrg(x, "o", 2, 5)) }},
		{"GET /v1/blobs/" + string(sum) + "/info", "", func(x context.Context, c *Client) error { return drop(c.BlobInfo(x, sum)) }},
	}
}

// protocolRoutes are the rows of the agent protocol.
func protocolRoutes() []route {
	return []route{
		{"POST /v1/agents/a1/register", `"incarnation":2`, func(x context.Context, c *Client) error {
			return drop(c.Register(x, "a1", qgjob.RegisterRequest{Incarnation: 2}))
		}},
		{"POST /v1/agents/a1/claim", `"claim_id":"12345678"`, func(x context.Context, c *Client) error {
			return drop(c.Claim(x, "a1", qgjob.ClaimRequest{ClaimID: "12345678"}))
		}},
		{"POST /v1/agents/a1/renew", `"leases":["` + string(routeLease), func(x context.Context, c *Client) error {
			return drop(c.Renew(x, "a1", qgjob.RenewRequest{Leases: []qgjob.LeaseID{routeLease}}))
		}},
		{"POST /v1/leases/" + string(routeLease) + "/start", `"agent_id":"a1"`, func(x context.Context, c *Client) error {
			return drop(c.Start(x, routeLease, qgjob.StartRequest{AgentID: "a1"}))
		}},
		{"POST /v1/leases/" + string(routeLease) + "/log?offset=12", "raw\x00bytes", func(x context.Context, c *Client) error {
			return drop(c.AppendLog(x, routeLease, 12, []byte("raw\x00bytes")))
		}},
		{"POST /v1/leases/" + string(routeLease) + "/artifacts", `"name":"shot.png"`, func(x context.Context, c *Client) error {
			return drop(c.AddArtifact(x, routeLease, qgjob.ArtifactRequest{Name: "shot.png"}))
		}},
		{"POST /v1/leases/" + string(routeLease) + "/complete", `"digest":"d"`, func(x context.Context, c *Client) error {
			return drop(c.Complete(x, routeLease, qgjob.CompleteRequest{Digest: "d", Next: &qgjob.ClaimRequest{WaitMS: 10}}))
		}},
	}
}

func TestAllJobsPages(t *testing.T) {
	all := make([]qgjob.Job, 1203)
	for i := range all {
		all[i] = qgjob.Job{JobID: qgjob.JobID(i + 1), RunID: 1, GroupID: 1}
	}
	calls := 0
	c := serve(t, NoRetry, func(w http.ResponseWriter, r *http.Request) {
		calls++
		var from, limit int
		q := r.URL.Query()
		for _, at := range []struct {
			key string
			to  *int
		}{{"cursor", &from}, {"limit", &limit}} {
			for _, d := range q.Get(at.key) {
				*at.to = *at.to*10 + int(d-'0')
			}
		}
		end := min(from+limit, len(all))
		p := qgjob.Page[qgjob.Job]{Items: all[from:end]}
		if end < len(all) {
			p.Cursor = strings.TrimPrefix(qgjob.JobID(end).String(), "job_")
		}
		reply(w, 200, p)
	})
	for _, test := range []struct {
		limit, want, calls int
		more               bool
	}{{0, 1203, 3, false}, {100, 100, 1, true}, {500, 500, 1, true}, {700, 700, 2, true}, {1203, 1203, 3, false}, {5000, 1203, 3, false}} {
		calls = 0
		jobs, more, err := c.AllJobs(t.Context(), qgjob.JobFilter{}, test.limit)
		if err != nil || len(jobs) != test.want || more != test.more || calls != test.calls || jobs[len(jobs)-1].JobID != qgjob.JobID(test.want) {
			t.Errorf("limit %d: %d jobs, more %v, %d calls, %v", test.limit, len(jobs), more, calls, err)
		}
	}
}
