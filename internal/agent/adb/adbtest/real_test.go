package adbtest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/adb/adbtest"
	"github.com/qualgent/qgjob/internal/agent/apk/apktest"
)

func listen(t *testing.T) *adbtest.Server {
	t.Helper()
	s, err := adbtest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestRealAdb holds the fake against the adb program itself: what that takes
// for a device, Appium takes for one too.
func TestRealAdb(t *testing.T) {
	program := os.Getenv("QGJOB_ADB")
	if program == "" {
		var err error
		if program, err = exec.LookPath("adb"); err != nil {
			if os.Getenv("QGJOB_REQUIRE_ADB") != "" {
				t.Fatal("QGJOB_REQUIRE_ADB is set, and there is no adb: script/setup/adb")
			}
			t.Skip("there is no adb: script/setup/adb installs it")
		}
	}
	s := listen(t)
	s.Plug(adbtest.Device{Serial: "emulator-5554"})
	s.Plug(adbtest.Device{Serial: "R5CT10ABCDE"})
	dir := t.TempDir()
	apk := filepath.Join(dir, "demo.apk")
	if err := os.WriteFile(apk, apktest.APK(apktest.App{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: ".Main"}), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "ANDROID_ADB_SERVER_PORT="+s.Port(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	on := func(args ...string) []string { return append([]string{"-s", "emulator-5554"}, args...) }
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"devices", "-l"}, "model:Pixel_8"},
		{on("get-state"), "device"},
		{on("wait-for-device"), ""},
		{on("install", "-r", "-t", "-g", apk), "Success"},
		{on("shell", "pm", "path", "dev.qgjob.demo"), "package:/data/app/"},
		{on("shell", "dumpsys", "package", "dev.qgjob.demo"), "versionCode=42"},
		{on("shell", "getprop", "ro.build.version.sdk"), "34"},
		{on("shell", "am start -W -n dev.qgjob.demo/.Main"), "Status: ok"},
		{on("shell", "pidof", "dev.qgjob.demo"), "4711"},
		{on("shell", "pm", "clear", "dev.qgjob.demo"), "Success"},
		{on("push", apk, "/data/local/tmp/demo.apk"), "1 file pushed"},
		{on("pull", "/data/local/tmp/demo.apk", filepath.Join(dir, "back.apk")), "1 file pulled"},
		{on("shell", "pm", "install", "-r", "/data/local/tmp/demo.apk"), "Success"},
		{on("exec-out", "screencap", "-p"), "PNG"},
		{on("logcat", "-d"), "dev.qgjob.demo"},
		{on("forward", "tcp:0", "tcp:6790"), ""},
		{on("uninstall", "dev.qgjob.demo"), "Success"},
	} {
		out, err := run(test.args...)
		if err != nil || !strings.Contains(out, test.want) {
			t.Errorf("adb %s: %v, %q; want %q", strings.Join(test.args, " "), err, out, test.want)
		}
	}
	if n := s.Count("emulator-5554", "install"); n != 2 || s.Count("R5CT10ABCDE", "install") != 0 {
		t.Errorf("%d installs, want 2 on the emulator only: %+v", n, s.Journal())
	}
	if _, err := run(on("shell", "false")...); err == nil {
		t.Error("the code of a command is lost")
	}
	s.SetState("emulator-5554", "offline")
	if out, err := run(on("shell", "true")...); err == nil || !strings.Contains(out, "offline") {
		t.Errorf("an offline device: %v, %q", err, out)
	}
}

// TestControl drives the fake as a test in another process does.
func TestControl(t *testing.T) {
	s := listen(t)
	web := httptest.NewServer(s.Control())
	defer web.Close()
	order := func(text string) int {
		t.Helper()
		res, err := http.Post(web.URL+"/orders", "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, text := range []string{
		`{"do":"plug","serial":"emulator-5554"}`, `{"do":"plug","device":{"serial":"R5CT10ABCDE","model":"Pixel 6"}}`,
		`{"do":"slow","serial":"emulator-5554","millis":1}`, `{"do":"replace","serial":"emulator-5554","package":"a.b","version_code":7}`,
		`{"do":"health","serial":"emulator-5554","health":{"booted":true}}`, `{"do":"state","serial":"R5CT10ABCDE","state":"offline"}`,
		`{"do":"fail_installs","serial":"emulator-5554","words":["X"]}`, `{"do":"fail_launches","serial":"emulator-5554","words":["X"]}`,
		`{"do":"unplug","serial":"R5CT10ABCDE"}`,
	} {
		if code := order(text); code != http.StatusOK {
			t.Errorf("%s: %d", text, code)
		}
	}
	if order(`{"do":"nothing"}`) != http.StatusBadRequest || order(`{`) != http.StatusBadRequest {
		t.Error("an order that makes no sense is obeyed")
	}
	if code, _ := s.Holds("emulator-5554", "a.b"); code != 7 {
		t.Errorf("the app that was put there by hand has version %d", code)
	}
	res, err := http.Get(web.URL + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var entries []adbtest.Entry
	if err := json.NewDecoder(res.Body).Decode(&entries); err != nil || entries == nil {
		t.Errorf("journal: %v, %v", entries, err)
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(s.Asked()); err != nil || b.Len() == 0 {
		t.Error(err)
	}
}
