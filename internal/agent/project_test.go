//go:build unix

package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestBundleIsFetchedAndUnpackedOnce, and its tests run without any project.
func TestBundleIsFetchedAndUnpackedOnce(t *testing.T) {
	r := newRig(t)
	r.config.ProjectDir = ""
	r.config.Slots = 2
	files := map[string]string{}
	for i := range 6 {
		files[fmt.Sprintf("tests/%d.js", i)] = "say from the bundle"
	}
	sum := r.upload(zipOf(t, files))
	var leases []*fakeLease
	for i := range 6 {
		leases = append(leases, r.submit(qgjob.Job{TestPath: fmt.Sprintf("tests/%d.js", i), BundleSHA256: sum}, nil))
	}
	missing := r.submit(qgjob.Job{TestPath: "tests/7.js", BundleSHA256: sum}, nil)
	r.begin(t)
	for _, l := range leases {
		want(t, r.result(t, l), qgjob.OutcomePassed, "")
		if !strings.Contains(string(l.log), "from the bundle") {
			t.Errorf("log %q", l.log)
		}
	}
	want(t, r.result(t, missing), qgjob.OutcomeErrored, qgjob.ReasonTestFileMissing)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.fetches[sum]; n != 1 {
		t.Errorf("the bundle was fetched %d times", n)
	}
}

func TestBundleThatCannotBeUsed(t *testing.T) {
	r := newRig(t)
	escape := r.upload(zipOf(t, map[string]string{"../evil.js": "x"}))
	garbage := r.upload([]byte("no zip"))
	r.begin(t)
	for _, sum := range []qgjob.Sum{escape, garbage, qgjob.Sum(strings.Repeat("1", 64))} {
		l := r.submit(qgjob.Job{TestPath: "a.js", BundleSHA256: sum}, nil)
		want(t, r.result(t, l), qgjob.OutcomeErrored, qgjob.ReasonSetup)
	}
	good := r.submit(r.test(t, "a.js", "exit 0"), nil)
	want(t, r.result(t, good), qgjob.OutcomePassed, "")
}

// newTestHost is a host whose npm is a program of the test's.
func newTestHost(t *testing.T, npm string) (*host, string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(npm), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	f := newFakeServer(t)
	cached, err := openCache(filepath.Join(dir, "cache"), f.client())
	if err != nil {
		t.Fatal(err)
	}
	return &host{Config: Config{Runner: "playwright", Log: slog.New(slog.DiscardHandler)}, cache: cached, warn: func(string) {}}, dir
}

func bundleDir(t *testing.T, dir, name string, files map[string]string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	for file, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(path, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestPackagesOnceForEachLockFile: bundles of different commits with the same
// lock file share their packages, also when they come at once.
func TestPackagesOnceForEachLockFile(t *testing.T) {
	const npm = "#!/bin/sh\necho \"$@\" >> \"$HOME/calls\"\nmkdir -p node_modules/@playwright/test && cp package-lock.json node_modules/@playwright/test/cli.js\n"
	h, dir := newTestHost(t, npm)
	t.Setenv("HOME", dir)
	lock1, lock2 := `{"lockfileVersion":3,"x":1}`, `{"lockfileVersion":3,"x":2}`
	var all sync.WaitGroup
	for i, lock := range []string{lock1, lock1, lock1, lock2} {
		path := bundleDir(t, dir, fmt.Sprint("bundle", i), map[string]string{"package.json": "{}", "package-lock.json": lock})
		all.Go(func() {
			for range 2 {
				if err := h.packages(context.Background(), path, fmt.Sprint("sum", i), io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || string(calls) != strings.Repeat("ci --no-audit --no-fund\n", 2) {
		t.Errorf("npm was called:\n%s%v", calls, err)
	}
	for i, lock := range []string{lock1, lock1, lock1, lock2} {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("bundle", i), "node_modules/@playwright/test/cli.js"))
		if err != nil || string(got) != lock {
			t.Errorf("bundle %d has the packages of %q, %v", i, got, err)
		}
	}
}

// TestPackagesThatNeedTheirProject are installed inside it.
func TestPackagesThatNeedTheirProject(t *testing.T) {
	h, dir := newTestHost(t, "#!/bin/sh\nmkdir node_modules\n")
	for name, files := range map[string]map[string]string{
		"script":    {"package.json": `{"scripts":{"postinstall":"x"}}`, "package-lock.json": "{}"},
		"workspace": {"package.json": "{}", "package-lock.json": `{"packages":{"a":{"link": true}}}`},
		"file":      {"package.json": "{}", "package-lock.json": `{"packages":{"a":{"resolved":"file:lib"}}}`},
	} {
		path := bundleDir(t, dir, name, files)
		if err := h.packages(t.Context(), path, name, io.Discard); err != nil {
			t.Fatal(err)
		}
		st, err := os.Lstat(filepath.Join(path, "node_modules"))
		if err != nil || !st.IsDir() {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

// TestFailingNpmSaysWhy and is tried again by the next job.
func TestFailingNpmSaysWhy(t *testing.T) {
	h, dir := newTestHost(t, "#!/bin/sh\necho 'npm error: registry is away'\n[ -e \"$HOME/repaired\" ] && mkdir node_modules\n")
	t.Setenv("HOME", dir)
	path := bundleDir(t, dir, "bundle", map[string]string{"package.json": "{}", "package-lock.json": "{}"})
	err := h.packages(t.Context(), path, "sum", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "npm ci exited with code 1") || !strings.Contains(err.Error(), "registry is away") {
		t.Fatalf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "repaired"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.packages(t.Context(), path, "sum", io.Discard); err != nil {
		t.Fatal(err)
	}
}

// TestPackagesWithoutLockFile: nothing to install.
func TestPackagesWithoutLockFile(t *testing.T) {
	h, dir := newTestHost(t, "#!/bin/sh\nexit 1\n")
	path := bundleDir(t, dir, "bundle", map[string]string{"package.json": "{}"})
	if err := h.packages(t.Context(), path, "sum", io.Discard); err != nil {
		t.Fatal(err)
	}
}

func TestCacheFetchesOnceAndChecks(t *testing.T) {
	f := newFakeServer(t)
	c, err := openCache(t.TempDir(), f.client())
	if err != nil {
		t.Fatal(err)
	}
	sum := f.upload([]byte("content"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := c.blob(context.Background(), sum, 100)
			text, readErr := os.ReadFile(path)
			if err != nil || readErr != nil || string(text) != "content" {
				t.Errorf("%q %v %v", text, err, readErr)
			}
		})
	}
	all.Wait()
	if f.fetches[sum] != 1 {
		t.Errorf("fetched %d times", f.fetches[sum])
	}
	wrong := qgjob.Sum(strings.Repeat("2", 64))
	f.change(func() { f.blobs[wrong] = []byte("not that") })
	long := f.upload([]byte(strings.Repeat("l", 200)))
	for _, bad := range []qgjob.Sum{wrong, long, "../../etc/passwd", ""} {
		if path, err := c.blob(context.Background(), bad, 100); err == nil || there(filepath.Join(c.dir, "blobs", string(bad))) && bad != "" && bad != "../../etc/passwd" {
			t.Errorf("%q was taken to %s: %v", bad, path, err)
		}
	}
	left, _ := os.ReadDir(filepath.Join(c.dir, "blobs"))
	if len(left) != 1 {
		t.Errorf("%d files in the cache, want the good one", len(left))
	}
}
