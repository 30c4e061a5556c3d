package apk

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qualgent/qgjob/internal/agent/apk/apktest"
)

func TestRead(t *testing.T) {
	demo := apktest.App{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: ".Main", ABIs: []string{"x86_64", "arm64-v8a"}}
	wide := demo
	wide.UTF16 = true
	whole := demo
	whole.Activity = "com.other.Start"
	bare := demo
	bare.Activity = "Main"
	none := apktest.App{Package: "dev.qgjob.service", VersionCode: 1}
	abis := []string{"arm64-v8a", "x86_64"}
	for _, test := range []struct {
		name string
		app  apktest.App
		want Info
	}{
		{"utf-8", demo, Info{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: "dev.qgjob.demo.Main", MinSDK: 21, ABIs: abis}},
		{"utf-16", wide, Info{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: "dev.qgjob.demo.Main", MinSDK: 21, ABIs: abis}},
		{"whole class name", whole, Info{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: "com.other.Start", MinSDK: 21, ABIs: abis}},
		{"bare class name", bare, Info{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: "dev.qgjob.demo.Main", MinSDK: 21, ABIs: abis}},
		{"no launcher", none, Info{Package: "dev.qgjob.service", VersionCode: 1, MinSDK: 21}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := apktest.APK(test.app)
			got, err := Read(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, test.want) {
				t.Errorf("read %+v, want %+v", got, test.want)
			}
		})
	}
}

func same(a, b Info) bool {
	abis := slices.Equal(a.ABIs, b.ABIs)
	a.ABIs, b.ABIs = nil, nil
	return abis && a.Package == b.Package && a.VersionCode == b.VersionCode && a.VersionName == b.VersionName &&
		a.Activity == b.Activity && a.MinSDK == b.MinSDK && a.Split == b.Split
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadRefuses(t *testing.T) {
	manifest := string(apktest.Manifest(apktest.App{Package: "dev.qgjob.demo", VersionCode: 1}))
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"text", []byte("hello"), "no zip archive"},
		{"nothing", nil, "no zip archive"},
		{"bundle", archive(t, map[string]string{"BundleConfig.pb": "", "base/manifest/AndroidManifest.xml": ""}), "Android App Bundle"},
		{"ipa", archive(t, map[string]string{"Payload/Demo.app/Info.plist": ""}), "iOS app"},
		{"apks", archive(t, map[string]string{"splits/base-master.apk": ""}), "several APKs"},
		{"web", archive(t, map[string]string{"index.html": ""}), "web app"},
		{"zip", archive(t, map[string]string{"a.txt": ""}), "no AndroidManifest.xml"},
		{"text manifest", archive(t, map[string]string{manifestName: "<manifest package='a.b'/>"}), "plain text"},
		{"empty manifest", archive(t, map[string]string{manifestName: ""}), "no binary XML"},
		{"cut manifest", archive(t, map[string]string{manifestName: manifest[:len(manifest)-10]}), "bytes where"},
		{"cut in the strings", archive(t, map[string]string{manifestName: manifest[:60]}), "bytes where"},
		{"manifest without a package", archive(t, map[string]string{manifestName: string(apktest.Manifest(apktest.App{}))}), "names no package"},
		{"huge manifest", archive(t, map[string]string{manifestName: strings.Repeat("\x00", maxManifest+1)}), "allowed:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Read(bytes.NewReader(test.file), int64(len(test.file)))
			if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v; want an *Error with %q", got, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}

// TestReadOfAapt holds the reader against the manifest that the SDK's own tool
// writes.
func TestReadOfAapt(t *testing.T) {
	const framework = "/usr/share/android-framework-res/framework-res.apk"
	tool, err := exec.LookPath("aapt")
	if _, statErr := os.Stat(framework); err != nil || statErr != nil {
		if os.Getenv("QGJOB_REQUIRE_ADB") != "" {
			t.Fatal("QGJOB_REQUIRE_ADB is set, and aapt or android-framework-res is missing: script/setup/adb")
		}
		t.Skip("aapt or android-framework-res is missing: script/setup/adb")
	}
	dir := t.TempDir()
	const text = `<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="dev.qgjob.demo" android:versionCode="1042" android:versionName="1.4.2">
  <uses-sdk android:minSdkVersion="23" android:targetSdkVersion="30"/>
  <application android:label="Demo">
    <activity android:name=".Off" android:enabled="false"><intent-filter>
      <action android:name="android.intent.action.MAIN"/><category android:name="android.intent.category.LAUNCHER"/></intent-filter></activity>
    <activity android:name=".Share"><intent-filter><action android:name="android.intent.action.SEND"/></intent-filter></activity>
    <activity android:name=".MainActivity"><intent-filter>
      <action android:name="android.intent.action.MAIN"/><category android:name="android.intent.category.LAUNCHER"/></intent-filter></activity>
  </application>
</manifest>`
	if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "package", "-f", "-M", filepath.Join(dir, manifestName), "-I", framework,
		"-F", filepath.Join(dir, "demo.apk")).CombinedOutput()
	if err != nil {
		t.Fatalf("aapt: %v\n%s", err, out)
	}
	got, err := Open(filepath.Join(dir, "demo.apk"))
	want := Info{Package: "dev.qgjob.demo", VersionCode: 1042, VersionName: "1.4.2", Activity: "dev.qgjob.demo.MainActivity", MinSDK: 23}
	if err != nil || !same(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}
}

func FuzzParseManifest(f *testing.F) {
	app := apktest.App{Package: "dev.qgjob.demo", VersionCode: 42, VersionName: "1.4.2", Activity: ".Main"}
	f.Add(apktest.Manifest(app))
	app.UTF16 = true
	f.Add(apktest.Manifest(app))
	f.Add([]byte("<manifest/>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ParseManifest(b)
		if err == nil && info.Package == "" {
			t.Errorf("a manifest without a package: %+v", info)
		}
	})
}

// FuzzRead: an archive that somebody uploaded as an APK.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	part, err := w.Create(manifestName)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := part.Write(apktest.Manifest(apktest.App{Package: "dev.qgjob.demo", VersionCode: 1, Activity: ".Main"})); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Read(bytes.NewReader(b), int64(len(b)))
		if err == nil && info.Package == "" {
			t.Errorf("an APK without a package: %+v", info)
		}
	})
}
