package browserstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

const (
	// keptFor is how long BrowserStack keeps an app (docs: "Upload apps").
	keptFor = 30 * 24 * time.Hour
	// spare is how long an app must still be kept to be used for a job.
	spare = 12 * time.Hour
	// believed is how long BrowserStack is not asked again whether it has an app.
	believed = time.Hour
	// lockPoll is the pause before an upload of another process is looked at again.
	lockPoll = 500 * time.Millisecond
)

var sum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Uploads remembers, in files, which builds an account has uploaded. All agents
// of a process share one; several processes may share its folder.
type Uploads struct {
	client *Client
	dir    string

	mu      sync.Mutex
	busy    map[qgjob.Sum]chan struct{} // holds one token while the build is looked for or uploaded
	checked map[qgjob.Sum]time.Time     // when BrowserStack said last that it has the app
}

// uploaded is the record of one build.
type uploaded struct {
	URL     string    `json:"app_url"`
	User    string    `json:"user"`
	Expires time.Time `json:"expires"`
}

// NewUploads keeps its records in dir, which it makes.
func NewUploads(c *Client, dir string) (*Uploads, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Uploads{client: c, dir: dir, busy: map[qgjob.Sum]chan struct{}{}, checked: map[qgjob.Sum]time.Time{}}, nil
}

// Have gives the address of a build that is uploaded already, by this account:
// as remembered, or as BrowserStack tells. It waits for an upload under way.
func (u *Uploads) Have(ctx context.Context, build qgjob.Sum) (string, bool, error) {
	unlock, err := u.lock(ctx, build)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	return u.have(ctx, build)
}

// Put uploads a build unless it is uploaded already, and gives its address; done
// says whether it did.
func (u *Uploads) Put(ctx context.Context, build qgjob.Sum, name, file string) (address string, done bool, err error) {
	unlock, err := u.lock(ctx, build)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	address, ok, err := u.have(ctx, build)
	if err != nil || ok {
		return address, false, err
	}
	begin := time.Now()
	app, err := u.client.Upload(ctx, build, name, file)
	if err != nil {
		return "", false, err
	}
	return app.URL, true, u.remember(build, app, begin)
}

// Doubt has BrowserStack asked again before a build counts as uploaded: a
// session with it did not begin.
func (u *Uploads) Doubt(build qgjob.Sum) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.checked, build)
}

func (u *Uploads) have(ctx context.Context, build qgjob.Sum) (string, bool, error) {
	now := time.Now()
	r, known := u.read(build)
	known = known && r.User == u.client.account.User && now.Add(spare).Before(r.Expires)
	if known && u.sure(build, now) {
		return r.URL, true, nil
	}
	apps, err := u.client.Find(ctx, build)
	if err != nil {
		if known && qgjob.KindOf(err) == qgjob.KindUnavailable {
			return r.URL, true, nil // nobody can say that it is gone
		}
		return "", false, err
	}
	for _, app := range apps {
		if expires(app, now).After(now.Add(spare)) {
			return app.URL, true, u.remember(build, app, now)
		}
	}
	return "", false, disk.Remove(u.path(build))
}

// expires is when an app is deleted, at the latest.
func expires(app App, now time.Time) time.Time {
	switch {
	case !app.Expiry.IsZero():
		return app.Expiry.Time
	case !app.UploadedAt.IsZero():
		return app.UploadedAt.Add(keptFor)
	}
	return now.Add(keptFor)
}

func (u *Uploads) sure(build qgjob.Sum, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.checked[build]
	return ok && now.Sub(at) < believed
}

func (u *Uploads) remember(build qgjob.Sum, app App, now time.Time) error {
	text, err := json.Marshal(uploaded{URL: app.URL, User: u.client.account.User, Expires: expires(app, now).UTC()})
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.checked[build] = now
	u.mu.Unlock()
	return disk.Replace(u.path(build), text)
}

// read gives false for no record and for one that cannot be read: then
// BrowserStack is asked.
func (u *Uploads) read(build qgjob.Sum) (r uploaded, ok bool) {
	text, err := os.ReadFile(u.path(build))
	return r, err == nil && json.Unmarshal(text, &r) == nil && r.URL != ""
}

func (u *Uploads) path(build qgjob.Sum) string { return filepath.Join(u.dir, string(build)+".json") }

// lock keeps two uploads of one build apart, in this process and beside others
// that share the folder.
func (u *Uploads) lock(ctx context.Context, build qgjob.Sum) (unlock func(), err error) {
	if !sum.MatchString(string(build)) {
		return nil, qgjob.Invalid("build", fmt.Sprintf("%.80q is no SHA-256 of a build", build))
	}
	u.mu.Lock()
	m := u.busy[build]
	if m == nil {
		m = make(chan struct{}, 1)
		u.busy[build] = m
	}
	u.mu.Unlock()
	select {
	case m <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		l, err := disk.TryLock(filepath.Join(u.dir, string(build)+".lock"))
		if _, held := errors.AsType[*disk.HeldError](err); held {
			if err := sleep(ctx, lockPoll); err != nil {
				<-m
				return nil, err
			}
			continue
		}
		if err != nil {
			<-m
			return nil, err
		}
		return func() {
			_ = l.Unlock() // the kernel drops it with the process at the latest
			<-m
		}, nil
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
