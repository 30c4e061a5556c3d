//go:build linux

package script_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/appium"
)

// TestAppwrightRealDriverLoads: the pinned uiautomator2, as AppWright's own
// dependencies bring it, is taken from beside Appium without the registry, and
// the pinned Appium loads it. (What it does to a device needs one.)
func TestAppwrightRealDriverLoads(t *testing.T) {
	needAppwright(t)
	example, err := filepath.Abs("../examples/appwright")
	if err != nil {
		t.Fatal(err)
	}
	program, err := appium.Find("", "", example)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := appium.FindDriver("", program)
	if err != nil || driver.Dir == "" || driver.Version != appium.PinnedDriver || program.Version != appium.PinnedProgram {
		t.Fatalf("%+v %+v %v", program, driver, err)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "npm_config_offline=true"}
	home, err := appium.Home(t.Context(), t.TempDir(), program, driver, appium.Setup{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	s := appium.NewServer(appium.Options{Program: program, Home: home, Driver: driver.Name, Dir: t.TempDir(), Env: env})
	defer s.Close()
	if _, err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := string(s.Said()); !strings.Contains(said, "uiautomator2@"+appium.PinnedDriver+" (automationName 'UiAutomator2')") {
		t.Errorf("Appium said:\n%s", said)
	}
}
