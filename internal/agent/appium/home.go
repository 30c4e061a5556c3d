package appium

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

// Setup is what Home needs besides what it prepares.
type Setup struct {
	Env  []string     // of npm: PATH, proxies, registries
	Log  io.Writer    // takes what Appium and npm say
	Warn func(string) // see proc.Command
}

// homeStamp in an APPIUM_HOME says that its driver was installed to the end.
const homeStamp = "qgjob-ready"

const lockPoll = 100 * time.Millisecond

// Home gives an APPIUM_HOME under dir that holds the driver d and nothing
// else, prepared once for each driver and Appium. Several processes may share
// dir. Its error is a *qgjob.Error that says what to do.
func Home(ctx context.Context, dir string, p Program, d Driver, s Setup) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join([]string{p.Dir, p.Version, d.Package, d.Version, d.Dir}, "\x00")))
	home := filepath.Join(dir, d.Name+"-"+hex.EncodeToString(sum[:8]))
	if ready(home) {
		return home, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := await(ctx, home+".lock")
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if ready(home) {
		return home, nil
	}
	if err := errors.Join(os.RemoveAll(home), os.Mkdir(home, 0o700)); err != nil {
		return "", err
	}
	if err := install(ctx, home, p, d, s); err != nil {
		return "", err
	}
	return home, disk.Replace(filepath.Join(home, homeStamp), nil)
}

func ready(home string) bool {
	_, err := os.Stat(filepath.Join(home, homeStamp))
	return err == nil
}

// await waits for a lock on disk.
func await(ctx context.Context, path string) (*disk.Lock, error) {
	for {
		l, err := disk.TryLock(path)
		if _, held := errors.AsType[*disk.HeldError](err); !held {
			return l, err
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// enlist writes Appium's own list of extensions (appium: lib/extension/manifest.js, schema 4)
// with a driver that is there already. "appium driver install --source=local"
// would have npm look for the driver's dependencies anew, which lie beside it.
func enlist(home string, d Driver) error {
	var m struct {
		Appium map[string]any    `json:"appium"`
		Peers  map[string]string `json:"peerDependencies"`
	}
	text, err := os.ReadFile(filepath.Join(d.Dir, "package.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return err
	}
	delete(m.Appium, "driverName")
	for key, value := range map[string]string{
		"pkgName": d.Package, "version": d.Version, "installType": "local", "installSpec": d.Dir, "installPath": d.Dir, "appiumVersion": m.Peers["appium"],
	} {
		m.Appium[key] = value
	}
	// JSON is YAML.
	list, err := json.Marshal(map[string]any{"drivers": map[string]any{d.Name: m.Appium}, "plugins": map[string]any{}, "schemaRev": 4})
	if err != nil {
		return err
	}
	cache := filepath.Join(home, "node_modules", ".cache", "appium")
	return errors.Join(
		os.MkdirAll(cache, 0o700),
		os.WriteFile(filepath.Join(home, "package.json"), []byte("{}\n"), 0o600),
		os.WriteFile(filepath.Join(cache, "extensions.yaml"), list, 0o600),
	)
}

// install has the driver in home: as it lies on this machine, or by Appium and
// npm.
func install(ctx context.Context, home string, p Program, d Driver, s Setup) error {
	if d.Dir != "" {
		return enlist(home, d)
	}
	argv := []string{"node", p.main(), "driver", "install", "--source=npm", d.Package + "@" + d.Version}
	out := &recent{limit: 16 << 10}
	to := io.Writer(out)
	if s.Log != nil {
		to = io.MultiWriter(out, s.Log)
	}
	res := proc.Run(ctx, proc.Command{
		Argv: argv, Dir: home, Stdout: to, Stderr: to, Warn: s.Warn,
		// Appium is a peer of every driver: without this, npm fetches a second one.
		Env: slices.Concat(s.Env, []string{"APPIUM_HOME=" + home, "APPIUM_OMIT_PEER_DEPS=1", "CI=true", "NO_COLOR=1"}),
	})
	if res.Passed() {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: fmt.Sprintf("the Appium driver %s@%s cannot be installed: %s", d.Name, d.Version, lastLine(out.bytes())),
		Hint: "the npm registry must be reachable, or give the driver's folder by --appium-driver=FOLDER", Err: res.Err}
}

// lastLine gives the last line that says something.
func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	for _, line := range slices.Backward(lines) {
		// npm ends with where its own log lies, which says nothing of the cause.
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.Contains(line, []byte("A complete log of this run")) {
			return string(line[:min(len(line), 500)])
		}
	}
	return "it said nothing"
}
