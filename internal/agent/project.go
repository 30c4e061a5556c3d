package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
	"github.com/qualgent/qgjob/internal/agent/proc"
	"github.com/qualgent/qgjob/internal/agent/runner"
)

// project gives the folder of a job's test project, ready to run, without
// symbolic links in its path.
func (h *host) project(ctx context.Context, job qgjob.Job, log io.Writer) (string, error) {
	if job.BundleSHA256 == "" {
		return h.ownProject()
	}
	dir, err := h.cache.bundle(ctx, job.BundleSHA256)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if h.Runner == "exec" {
		return dir, nil
	}
	return dir, h.packages(ctx, dir, string(job.BundleSHA256), log)
}

func (h *host) ownProject() (string, error) {
	if h.ProjectDir == "" {
		return "", &qgjob.Error{Kind: qgjob.KindInvalid, Message: "the job has no bundle and the agent no project",
			Hint: "submit with --bundle DIR, or start the agent with --project DIR"}
	}
	dir, err := filepath.Abs(h.ProjectDir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("the agent's project: %w", err)
	}
	return dir, nil
}

// checkTestFile looks for the test file inside the project.
func checkTestFile(project, testPath string) error {
	if err := qgjob.CheckTestPath(testPath); err != nil {
		return err
	}
	root, err := os.OpenRoot(project)
	if err != nil {
		return fmt.Errorf("open the test project: %w", err)
	}
	defer root.Close()
	st, err := root.Stat(filepath.FromSlash(testPath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not in the test project", testPath)
	case err != nil:
		return fmt.Errorf("%s cannot be opened in the test project: %w", testPath, err)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no file", testPath)
	}
	return nil
}

// packages installs a bundle's npm packages, once for each lock file: bundles
// with the same lock file link to the same folder.
func (h *host) packages(ctx context.Context, dir, sum string, log io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	lockFile, err := root.ReadFile("package-lock.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	manifest, err := root.ReadFile("package.json")
	if err != nil {
		return fmt.Errorf("the bundle has a package-lock.json but no package.json: %w", err)
	}
	ready := "ready-" + sum
	_, err = h.cache.once(ctx, "modules", ready, func(path string) error {
		if err := root.RemoveAll("node_modules"); err != nil {
			return err
		}
		if needsProject(manifest, lockFile) {
			err = h.npm(ctx, dir, log)
		} else {
			err = h.sharePackages(ctx, root, manifest, lockFile, log)
		}
		if err != nil {
			return err
		}
		return disk.Replace(path, nil)
	})
	return err
}

// needsProject tells projects whose packages cannot be installed apart from
// their files: with packages that live in the project, or with scripts of
// their own around an install.
func needsProject(manifest, lockFile []byte) bool {
	var m struct {
		Scripts map[string]string `json:"scripts"`
	}
	if json.Unmarshal(manifest, &m) != nil || runtime.GOOS == "windows" {
		return true
	}
	for _, name := range []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"} {
		if _, ok := m.Scripts[name]; ok {
			return true
		}
	}
	return bytes.Contains(lockFile, []byte(`"link": true`)) || bytes.Contains(lockFile, []byte(`"file:`))
}

// sharePackages installs into a folder named by the lock file and links the
// project to it.
func (h *host) sharePackages(ctx context.Context, project *os.Root, manifest, lockFile []byte, log io.Writer) error {
	npmrc, err := project.ReadFile(".npmrc")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := digest(fmt.Sprintf("%s %s\n%d\n%s%s", runtime.GOOS, runtime.GOARCH, len(lockFile), lockFile, npmrc))
	files := map[string][]byte{"package.json": manifest, "package-lock.json": lockFile}
	if npmrc != nil {
		files[".npmrc"] = npmrc
	}
	shared, err := h.cache.once(ctx, "modules", key, func(path string) error {
		making := path + ".part"
		if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o700)); err != nil {
			return err
		}
		for _, name := range qgjob.SortedKeys(files) {
			if err := os.WriteFile(filepath.Join(making, name), files[name], 0o600); err != nil {
				return err
			}
		}
		if err := h.npm(ctx, making, log); err != nil {
			return err
		}
		return os.Rename(making, path)
	})
	if err != nil {
		return err
	}
	if !there(filepath.Join(shared, "node_modules")) {
		return nil // a project without dependencies
	}
	// Not through the root: the link leads out of the project on purpose.
	return os.Symlink(filepath.Join(shared, "node_modules"), filepath.Join(project.Name(), "node_modules"))
}

// npm runs npm ci in dir.
func (h *host) npm(ctx context.Context, dir string, log io.Writer) error {
	fmt.Fprintf(log, "[qgjob] installs npm packages: npm ci\n")
	out := &tail{to: log}
	res := proc.Run(ctx, proc.Command{
		Argv:   []string{"npm", "ci", "--no-audit", "--no-fund"},
		Dir:    dir,
		Env:    slices.Concat(runner.SetupEnv(os.Environ(), h.PassEnv), []string{"CI=true"}),
		Stdout: out,
		Stderr: out,
		Grace:  h.Grace,
		Warn:   h.warn,
	})
	if res.Passed() {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("npm ci %s: %s", res, bytes.TrimSpace(out.last))
}

// tail passes output on and keeps the end of it for the error message.
type tail struct {
	to   io.Writer
	last []byte
}

// Write never fails: a log that cannot be written must not end npm.
func (t *tail) Write(p []byte) (int, error) {
	const keep = 2 << 10
	_, _ = t.to.Write(p)
	t.last = append(t.last, p...)
	if len(t.last) > keep {
		t.last = append([]byte(nil), t.last[len(t.last)-keep:]...)
	}
	return len(p), nil
}
