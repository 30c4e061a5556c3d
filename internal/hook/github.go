package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

// Labels of a run that say which commit it tests; the command line sets them
// in a job of GitHub Actions.
const (
	LabelRepository = "github.repository" // owner/name
	LabelCommit     = "github.sha"        // 40 hex digits
	LabelPull       = "github.pr"         // number of the pull request
	LabelContext    = "github.context"    // tells several statuses of one commit apart
)

// Place is where GitHub shows a run.
type Place struct {
	Repository string // owner/name
	Commit     string
	Pull       int // 0 is none
	Context    string
}

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$`)
	commitForm     = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// PlaceOf reads where a run belongs; ok is false when its labels do not say.
func PlaceOf(run qgjob.Run) (p Place, ok bool) {
	p = Place{Repository: run.Labels[LabelRepository], Commit: run.Labels[LabelCommit], Context: "qgjob"}
	if c := run.Labels[LabelContext]; c != "" {
		p.Context = clip("qgjob / "+c, 200)
	}
	if n, err := strconv.Atoi(run.Labels[LabelPull]); err == nil && n > 0 {
		p.Pull = n
	}
	name := p.Repository[strings.IndexByte(p.Repository, '/')+1:]
	return p, repositoryForm.MatchString(p.Repository) && name != "." && name != ".." && commitForm.MatchString(p.Commit)
}

// Status is what a commit's status says (docs.github.com/rest/commits/statuses).
type Status struct {
	State       string `json:"state"` // pending, success, failure, error
	Description string `json:"description"`
	Context     string `json:"context"`
	TargetURL   string `json:"target_url,omitempty"`
}

// maxDescription is what GitHub takes, in characters.
const maxDescription = 140

// StatusOf says a run in one line. report is the address of its report, or
// empty.
func StatusOf(run qgjob.Run, context, report string) Status {
	s := Status{Context: context, TargetURL: report}
	t := run.Tally
	switch {
	case run.Conclusion == "":
		s.State, s.Description = "pending", fmt.Sprintf("%d of %d ended", t.Ended(), t.Total)
		return s
	case t.Failed > 0 || t.Cancelled > 0:
		s.State = "failure"
	case t.Errored > 0:
		s.State = "error"
	default:
		s.State = "success"
	}
	var parts []string
	for _, n := range []struct {
		count int
		word  string
	}{{t.Failed, "failed"}, {t.Errored, "errored"}, {t.Cancelled, "cancelled"}, {t.Passed, "passed"}, {t.Flaky, "flaky"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.word))
		}
	}
	s.Description = clip(strings.Join(parts, ", ")+fmt.Sprintf("; installs: %d done, %d avoided", run.Installs, run.InstallsAvoided), maxDescription)
	return s
}

// clip cuts a text to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// GitHub speaks to the API of GitHub (docs.github.com/rest), version
// 2022-11-28.
type GitHub struct {
	api   string
	token func(context.Context) (string, error)
	http  *http.Client
	agent string
	app   *appToken
}

// GitHubOptions are how GitHub is reached. Either Token or App is given.
type GitHubOptions struct {
	API   string // "https://api.github.com", or that of a GitHub Enterprise Server
	Token string // with the permissions statuses:write and pull_requests:write
	App   *App
	Allow []netip.Prefix // networks that need not be public
	Agent string
}

// NewGitHub makes a client.
func NewGitHub(o GitHubOptions) (*GitHub, error) {
	u, err := url.Parse(o.API)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil {
		return nil, qgjob.Invalid("api", fmt.Sprintf("api %.100q must be like https://api.github.com", o.API))
	}
	if (o.Token == "") == (o.App == nil) {
		return nil, qgjob.Invalid("token", "give either a token or an app")
	}
	g := &GitHub{api: strings.TrimRight(o.API, "/"), agent: o.Agent, http: NewSender(o.Allow, o.Agent).http}
	g.token = func(context.Context) (string, error) { return o.Token, nil }
	if o.App != nil {
		g.app = &appToken{app: *o.App, github: g}
		g.token = g.app.get
	}
	return g, nil
}

// ErrRefused is the cause of a call that GitHub will not take however often it
// comes: no such repository, commit or pull request, or one that the token may
// not touch.
var ErrRefused = errors.New("GitHub refuses it")

// SetStatus gives a commit a status.
func (g *GitHub) SetStatus(ctx context.Context, p Place, s Status) error {
	return g.call(ctx, http.MethodPost, "/repos/"+p.Repository+"/statuses/"+p.Commit, s, nil)
}

// maxComment is what GitHub takes as a comment, in characters; bytes are never
// fewer.
const maxComment = 65536

var commentMark = regexp.MustCompile(`^<!-- qgjob:([^ ]{1,400}) run_([0-9]{1,18}) -->`)

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
}

// Comment writes what one comment of the pull request says, and updates it
// when it is there already. A comment on a newer run stays.
func (g *GitHub) Comment(ctx context.Context, p Place, org qgjob.OrgID, run qgjob.RunID, text string) error {
	name := url.QueryEscape(string(org) + "/" + p.Context)
	mark := fmt.Sprintf("<!-- qgjob:%s run_%d -->\n", name, int64(run))
	body := map[string]string{"body": mark + clip(text, maxComment-len(mark))}
	base := "/repos/" + p.Repository + "/issues"
	for page := 1; page <= 30; page++ {
		var list []comment
		if err := g.call(ctx, http.MethodGet, fmt.Sprintf("%s/%d/comments?per_page=100&page=%d", base, p.Pull, page), nil, &list); err != nil {
			return err
		}
		for _, c := range list { // the oldest first: a copy of the mark in somebody's answer comes later
			m := commentMark.FindStringSubmatch(c.Body)
			if m == nil || m[1] != name {
				continue
			}
			if newer, _ := strconv.ParseInt(m[2], 10, 64); newer > int64(run) {
				return nil
			}
			return g.call(ctx, http.MethodPatch, fmt.Sprintf("%s/comments/%d", base, c.ID), body, nil)
		}
		if len(list) < 100 {
			break
		}
	}
	return g.call(ctx, http.MethodPost, fmt.Sprintf("%s/%d/comments", base, p.Pull), body, nil)
}

const maxGitHubReply = 16 << 20

func (g *GitHub) call(ctx context.Context, method, path string, in, out any) error {
	token, err := g.token(ctx)
	if err != nil {
		return err
	}
	return g.send(ctx, method, path, token, in, out)
}

func (g *GitHub) send(ctx context.Context, method, path, token string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.api+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("User-Agent", g.agent)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := g.http.Do(req)
	if err != nil {
		return brief(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return refusal(method, path, res)
	}
	if out == nil {
		_, _ = io.CopyN(io.Discard, res.Body, maxReply)
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxGitHubReply)).Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer cannot be read", method, path)
	}
	return nil
}

// refusal says what GitHub answered. 403 and 429 with a limit that is used up
// pass; what else is refused stays refused.
func refusal(method, path string, res *http.Response) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(&said) // it may say nothing
	err := fmt.Errorf("%s %s: %d %.200q", method, path, res.StatusCode, said.Message)
	limited := res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0"
	switch res.StatusCode {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity, http.StatusBadRequest:
		if !limited {
			return errors.Join(err, ErrRefused)
		}
	}
	return err
}

// appToken keeps an installation's token until shortly before it ends.
type appToken struct {
	app    App
	github *GitHub
	mu     sync.Mutex
	token  string
	until  time.Time
}

func (a *appToken) get(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if now.Before(a.until.Add(-5 * time.Minute)) {
		return a.token, nil
	}
	proof, err := a.app.proof(now)
	if err != nil {
		return "", err
	}
	var got struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	path := fmt.Sprintf("/app/installations/%d/access_tokens", a.app.Installation)
	if err := a.github.send(ctx, http.MethodPost, path, proof, nil, &got); err != nil {
		return "", err
	}
	a.token, a.until = got.Token, got.ExpiresAt
	return a.token, nil
}
