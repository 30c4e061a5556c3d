package device

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/browserstack"
)

// planAge is how old the plan may be that proves that the account is good.
const planAge = 30 * time.Second

// errHeld says that there was nothing to install: somebody else had done it
// when the turn came. Ensure counts it as an install avoided.
var errHeld = errors.New("it is there already")

// Cloud is a slot of BrowserStack: the account's phones, one session at a time.
// Installing is uploading, which is done once for all slots; every session
// gets a phone without traces and the app put there anew.
type Cloud struct {
	dir     string
	client  *browserstack.Client
	uploads *browserstack.Uploads
	gate    *browserstack.Gate
	held    *record
	address string // bs:// of the newest job's build
}

// NewCloud keeps its own files in dir, which must exist; uploads and gate are
// those of all slots of the account.
func NewCloud(dir string, client *browserstack.Client, uploads *browserstack.Uploads, gate *browserstack.Gate) *Cloud {
	return &Cloud{dir: dir, client: client, uploads: uploads, gate: gate, held: readRecord(dir)}
}

// Check asks for the plan: an account that is refused, or has no sessions, can
// run nothing. Whether a session is free now is the gate's to say.
func (c *Cloud) Check(ctx context.Context) error {
	plan, err := c.gate.Look(ctx, planAge)
	if err == nil && plan.Limit() == 0 {
		err = fmt.Errorf("the BrowserStack plan of %s has no App Automate sessions", c.client.Account())
	}
	return err
}

// Wants is true for uploaded builds.
func (c *Cloud) Wants(b Build) bool { return b.File != "" }

// Holds is true when BrowserStack has the build, whoever of the account
// uploaded it.
func (c *Cloud) Holds(ctx context.Context, b Build) bool {
	address, ok, err := c.uploads.Have(ctx, b.BuildSHA256)
	return err == nil && ok && c.note(b, address) == nil
}

// Install uploads the build unless another slot has by now.
func (c *Cloud) Install(ctx context.Context, b Build) error {
	name := keepName(b.FileName)
	if !slices.Contains([]string{".apk", ".aab", ".ipa"}, strings.ToLower(filepath.Ext(name))) {
		return &BuildError{fmt.Sprintf("%s is no app that BrowserStack takes", name), "upload an .apk, .aab or .ipa under a name that says so"}
	}
	address, done, err := c.uploads.Put(ctx, b.BuildSHA256, name, b.File)
	if qgjob.KindOf(err) == qgjob.KindInvalid {
		return &BuildError{err.Error(), "look at the build; the same file by hand on the App Automate dashboard says more"}
	}
	if err != nil {
		return err
	}
	if err := c.note(b, address); err != nil {
		return err
	}
	if !done {
		return errHeld
	}
	return nil
}

func (c *Cloud) note(b Build, address string) error {
	c.address = address
	r := record{Installed: b.Installed, FileName: keepName(b.FileName)}
	if c.held != nil && *c.held == r {
		return nil
	}
	c.held = &r
	return r.write(c.dir)
}

// Installed tells the build of the newest job.
func (c *Cloud) Installed() *qgjob.Installed {
	if c.held == nil {
		return nil
	}
	held := c.held.Installed
	return &held
}

// Address is where BrowserStack has the build, bs://…; "" without one.
func (c *Cloud) Address(b Build) string {
	if !c.Wants(b) {
		return ""
	}
	return c.address
}

// Env gives the account, with which the test starts its session, and
// QGJOB_APP_PATH, the app's bs:// address; empty when there is none.
func (c *Cloud) Env(b Build) []string {
	return append(c.client.Account().Env(), "QGJOB_APP_PATH="+c.Address(b))
}

// Serves is empty.
func (c *Cloud) Serves() []string { return nil }

// Reset does nothing: a session finds a clean phone, and the app is installed
// for it anew.
func (c *Cloud) Reset(context.Context, qgjob.Reset) error { return nil }

// Still answers nil: nobody replaces an app under its address.
func (c *Cloud) Still(context.Context, Build) error { return nil }

// Evidence leaves nothing, for BrowserStack keeps the session's; but an app
// whose test did not pass is looked for again before the next one.
func (c *Cloud) Evidence(context.Context, string) error {
	if c.held != nil {
		c.uploads.Doubt(c.held.Installed.BuildSHA256)
	}
	return nil
}

// Canary is Check.
func (c *Cloud) Canary(ctx context.Context) error { return c.Check(ctx) }

// Close does nothing.
func (c *Cloud) Close() error { return nil }
