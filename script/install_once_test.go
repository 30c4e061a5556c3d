package script_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/client"
)

// shop is examples/shop, whose Playwright the tests here borrow.
const shop = "../examples/shop"

// needBrowser skips a test where Playwright or a Chromium is missing, and
// fails it where both must be there.
func needBrowser(t *testing.T) {
	t.Helper()
	missing := ""
	if _, err := os.Stat(filepath.Join(shop, "node_modules", "@playwright", "test", "cli.js")); err != nil {
		missing = "examples/shop has no node_modules: run make setup"
	}
	if out, err := exec.Command("setup/chromium").CombinedOutput(); err != nil {
		missing = string(out)
	}
	switch {
	case missing == "":
	case os.Getenv("QGJOB_REQUIRE_BROWSER") != "":
		t.Fatal(missing)
	default:
		t.Skip("needs Playwright and a Chromium: " + missing)
	}
}

// twelveSpecs is a test project of its own with twelve small spec files. Every
// fourth opens the app in the browser, the others ask for its page.
func twelveSpecs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	modules, err := filepath.Abs(filepath.Join(shop, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(shop, "playwright.config.js"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "playwright.config.js"), config, 0o600)
	}
	if err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "tests"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		spec := "const { test, expect } = require('@playwright/test');\n"
		if n%4 == 0 {
			spec += "test('opens', async ({ page }) => {\n  await page.goto('/');\n  await expect(page).toHaveTitle(/./);\n});\n"
		} else {
			spec += "test('is served', async ({ request }) => {\n  expect((await request.get('/')).ok()).toBe(true);\n});\n"
		}
		if err := os.WriteFile(filepath.Join(dir, "tests", fmt.Sprintf("open-%02d.spec.js", n)), []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInstallOnce: twelve specs of one app version on one browser agent are
// one install, counted by the agent that did it.
func TestInstallOnce(t *testing.T) {
	needBrowser(t)
	installsFor(t, 1, 1)
}

// TestInstallOnceSlow: the same on two agents is at most two.
func TestInstallOnceSlow(t *testing.T) {
	if os.Getenv("QGJOB_SLOW") == "" {
		t.Skip("takes a while: set QGJOB_SLOW=1")
	}
	needBrowser(t)
	installsFor(t, 2, 2)
}

func installsFor(t *testing.T, agents, most int) {
	dir, project := t.TempDir(), twelveSpecs(t)
	if out, err := exec.Command("setup/shop-builds", dir).CombinedOutput(); err != nil {
		t.Fatalf("build the shop: %v\n%s", err, out)
	}
	server, err := start(dir, "server", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.kill()
	url, err := server.await(listening)
	if err != nil {
		t.Fatal(err)
	}
	for n := range agents {
		name := fmt.Sprintf("b%d", n+1)
		a, err := start(dir, "agent", "--server", url, "--name", name, "--target", "browser", "--project", project, "--state-dir", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer a.kill()
		if _, err := a.await("registered"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(testBinary(), "submit", "--server", url, "--org-id=shop", "--app-version-id=1.4.0", "--app", filepath.Join(dir, "shop-1.4.0.zip"),
		"--test=tests/*.spec.js", "--target=browser", "--wait", "--json")
	cmd.Dir, cmd.Env = project, append(os.Environ(), asProgram+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("submit: %v\n%s", err, out)
	}
	var got struct {
		Conclusion qgjob.Conclusion `json:"conclusion"`
		Passed     int              `json:"passed"`
		Installs   int              `json:"installs"`
		Avoided    int              `json:"installs_avoided"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if got.Conclusion != qgjob.ConclusionPassed || got.Passed != 12 || got.Installs < 1 || got.Installs > most || got.Avoided != 12-got.Installs {
		t.Fatalf("%+v; want 12 passed with 1 to %d installs and the rest avoided", got, most)
	}
	c, err := client.New(url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for e, err := range c.RunEvents(context.Background(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Install == qgjob.InstallDone {
			events++
		}
	}
	if events != got.Installs {
		t.Errorf("%d install events, %d installs counted", events, got.Installs)
	}
	t.Logf("%d agents: %d installs, %d avoided", agents, got.Installs, got.Avoided)
}
