package appium

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// install lets Appium install the driver, so that its own list of extensions
// is right.
func install(ctx context.Context, home string, p Program, d Driver, s Setup) error {
	argv := []string{"node", p.main(), "driver", "install"}
	if d.Dir != "" {
		argv = append(argv, "--source=local", d.Dir)
	} else {
		argv = append(argv, "--source=npm", d.Package+"@"+d.Version)
	}
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
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return string(line[:min(len(line), 500)])
		}
	}
	return "it said nothing"
}
