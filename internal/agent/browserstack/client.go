// Package browserstack speaks the REST API of BrowserStack's App Automate: app
// versions uploaded once, sessions held back until the plan has room, links to
// what a session left, and an access key that no log shows.
//
// It imports the root package and the agent's disk.
package browserstack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
)

// DefaultAPI is where App Automate answers (browserstack.com/docs/app-automate/api-reference).
const DefaultAPI = "https://api-cloud.browserstack.com/app-automate"

// The variables that hold the account, as BrowserStack's own tools name them.
const (
	EnvUser = "BROWSERSTACK_USERNAME"
	EnvKey  = "BROWSERSTACK_ACCESS_KEY"
)

const (
	maxAnswer  = 4 << 20 // bytes
	maxSaid    = 300     // bytes of a refusal that are repeated
	askTime    = 30 * time.Second
	minKey     = 8 // shorter ones could not be taken out of a log without ruining it
	customID   = "qgjob-"
	sessionIDs = `^[A-Za-z0-9_-]{1,100}$`
)

var sessionID = regexp.MustCompile(sessionIDs)

// Account is who asks. It prints as the user's name alone.
type Account struct {
	User string
	key  string
}

// String is the user's name.
func (a Account) String() string { return a.User }

// GoString is String: %#v shows no key either.
func (a Account) GoString() string { return a.User }

// FromEnv takes the account from BROWSERSTACK_USERNAME and
// BROWSERSTACK_ACCESS_KEY. Its errors are *qgjob.Error of KindInvalid.
func FromEnv(getenv func(string) string) (Account, error) {
	a := Account{strings.TrimSpace(getenv(EnvUser)), strings.TrimSpace(getenv(EnvKey))}
	missing := ""
	switch {
	case a.User == "":
		missing = EnvUser
	case a.key == "":
		missing = EnvKey
	case len(a.key) < minKey || strings.ContainsAny(a.User+a.key, "\r\n:"):
		return Account{}, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "device", Message: EnvUser + " and " + EnvKey + " hold no account",
			Hint: "copy both from the App Automate dashboard"}
	default:
		return a, nil
	}
	return Account{}, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "device", Message: missing + " is not set",
		Hint: "set " + EnvUser + " and " + EnvKey + " in the agent's environment"}
}

// Env is the account as tests need it to start sessions: KEY=VALUE.
func (a Account) Env() []string { return []string{EnvUser + "=" + a.User, EnvKey + "=" + a.key} }

// Client asks App Automate for one account.
type Client struct {
	account Account
	base    string
	http    *http.Client
}

// New gives a client. base is DefaultAPI when empty; a plain http address is
// taken on loopback only, for the key travels with every request. A nil
// transport is http.DefaultTransport.
func New(account Account, base string, transport http.RoundTripper) (*Client, error) {
	if base == "" {
		base = DefaultAPI
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, qgjob.Invalid("device", "the address of BrowserStack's API must be an https address")
	}
	return &Client{account: account, base: strings.TrimRight(base, "/"), http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Account is whose sessions these are.
func (c *Client) Account() Account { return c.account }

// Base is the API's address without a slash at its end.
func (c *Client) Base() string { return c.base }

// App is an uploaded app version. BrowserStack deletes it 30 days after its
// upload (docs: "Upload apps", "Note").
type App struct {
	URL        string `json:"app_url"` // bs://…
	CustomID   string `json:"custom_id"`
	UploadedAt stamp  `json:"uploaded_at"`
	Expiry     stamp  `json:"expiry"` // sent by some of the API's versions; zero: not told
}

// stamp is an instant as the API writes it: "2020-05-05 14:52:54 UTC". One that
// cannot be read is zero.
type stamp struct{ time.Time }

// UnmarshalJSON never fails: a date is no reason to upload again.
func (s *stamp) UnmarshalJSON(text []byte) error {
	word := strings.Trim(string(text), `"`)
	for _, layout := range []string{"2006-01-02 15:04:05 MST", time.RFC3339} {
		if t, err := time.Parse(layout, word); err == nil {
			s.Time = t.UTC()
			return nil
		}
	}
	s.Time = time.Time{}
	return nil
}

// customIDOf is the name by which an upload of a build is found again, by this
// agent or another one of the account.
func customIDOf(build qgjob.Sum) string { return customID + string(build) }

// Upload sends a build's file under the name given, whose ending must be .apk,
// .aab or .ipa, and waits until the API has taken it.
func (c *Client) Upload(ctx context.Context, build qgjob.Sum, name, file string) (App, error) {
	f, err := os.Open(file)
	if err != nil {
		return App{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return App{}, err
	}
	var frame bytes.Buffer
	form := multipart.NewWriter(&frame)
	if err := form.WriteField("custom_id", customIDOf(build)); err != nil {
		return App{}, err
	}
	if _, err := form.CreateFormFile("file", name); err != nil {
		return App{}, err
	}
	head := frame.Len()
	if err := form.Close(); err != nil {
		return App{}, err
	}
	text := frame.Bytes()
	body := io.MultiReader(bytes.NewReader(text[:head]), f, bytes.NewReader(text[head:]))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/upload", body)
	if err != nil {
		return App{}, err
	}
	req.ContentLength = int64(len(text)) + st.Size()
	req.Header.Set("Content-Type", form.FormDataContentType())
	var app App
	if err := c.do(req, "upload "+name, &app); err != nil {
		return App{}, err
	}
	if !strings.HasPrefix(app.URL, "bs://") {
		return App{}, qgjob.Unavailable(nil, "upload %s to BrowserStack: its answer names no bs:// address", name)
	}
	return app, nil
}

// Find gives the uploads of a build that BrowserStack still has, newest first.
func (c *Client) Find(ctx context.Context, build qgjob.Sum) ([]App, error) {
	var text json.RawMessage
	err := c.get(ctx, "/recent_apps/"+customIDOf(build), "look for an uploaded app", &text)
	if qgjob.KindOf(err) == qgjob.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseApps(text, customIDOf(build)), nil
}

// parseApps reads a list of apps. What is none is the API's "No results found",
// an object with a message.
func parseApps(text []byte, id string) []App {
	var all []App
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	var out []App
	for _, a := range all {
		if a.CustomID == id && strings.HasPrefix(a.URL, "bs://") {
			out = append(out, a)
		}
	}
	return out
}

// Plan asks how many sessions the account may have and has.
func (c *Client) Plan(ctx context.Context) (Plan, error) {
	var p Plan
	err := c.get(ctx, "/plan.json", "ask for the plan", &p)
	return p, err
}

// Session asks for what is known of a session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	if !sessionID.MatchString(id) {
		return Session{}, qgjob.Invalid("session", fmt.Sprintf("%.40q is no session id of BrowserStack", id))
	}
	var s struct {
		Session Session `json:"automation_session"`
	}
	err := c.get(ctx, "/sessions/"+id+".json", "ask for session "+id, &s)
	return s.Session, err
}

func (c *Client) get(ctx context.Context, path, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	return c.do(req, what, into)
}

func (c *Client) do(req *http.Request, what string, into any) error {
	req.SetBasicAuth(c.account.User, c.account.key)
	req.Header.Set("User-Agent", "qgjob")
	res, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return qgjob.Unavailable(err, "%s: BrowserStack does not answer", what)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return qgjob.Unavailable(err, "%s: BrowserStack's answer breaks off", what)
	}
	if res.StatusCode != http.StatusOK {
		return c.refusal(what, res, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return qgjob.Unavailable(err, "%s: BrowserStack's answer cannot be read", what)
	}
	return nil
}

// refusal makes one of our errors of an answer.
func (c *Client) refusal(what string, res *http.Response, text []byte) error {
	said := string(NewSecrets(c.account).Clean([]byte(saidIn(text))))
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "")
	}
	message := fmt.Sprintf("%s: BrowserStack answers %d %s", what, res.StatusCode, said)
	e := &qgjob.Error{Kind: qgjob.KindInvalid, Message: strings.TrimSpace(message)}
	switch code := res.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Kind, e.Hint = qgjob.KindDenied, "look at "+EnvUser+" and "+EnvKey+", and whether the account has App Automate"
	case code == http.StatusNotFound:
		e.Kind = qgjob.KindNotFound
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		e.Kind = qgjob.KindUnavailable
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && s <= 3600 {
			e.RetryAfter = time.Duration(s) * time.Second
		}
	}
	return e
}

// saidIn is the API's own words in a refusal, on one line.
func saidIn(text []byte) string {
	var m struct {
		Error   any `json:"error"`
		Message any `json:"message"`
	}
	said := ""
	if json.Unmarshal(text, &m) == nil {
		for _, v := range []any{m.Error, m.Message} {
			if s, ok := v.(string); ok && said == "" {
				said = s
			}
		}
	}
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, said)), " ")
}
