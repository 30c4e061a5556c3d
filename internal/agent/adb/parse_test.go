package adb

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestParseDevices reads what servers of platform-tools 29 to 35 print.
func TestParseDevices(t *testing.T) {
	const text = `emulator-5554          device product:sdk_gphone64_x86_64 model:sdk_gphone64_x86_64 device:emu64xa transport_id:1
R5CT10ABCDE            device usb:1-2 product:oriole model:Pixel_6 device:oriole transport_id:4
192.168.1.7:5555       offline transport_id:9
adb-1A2B3C-x7Yz._adb-tls-connect._tcp device product:p model:P_8 device:d transport_id:2
0123456789             unauthorized usb:3-1 transport_id:3
FA69                   no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html] usb:1-1
* daemon started successfully *

-s                     device
`
	want := []Listed{
		{"emulator-5554", "device", "sdk_gphone64_x86_64"}, {"R5CT10ABCDE", "device", "Pixel_6"}, {"192.168.1.7:5555", "offline", ""},
		{"adb-1A2B3C-x7Yz._adb-tls-connect._tcp", "device", "P_8"}, {"0123456789", "unauthorized", ""}, {"FA69", "no permissions", ""},
	}
	if got := ParseDevices(text); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParsePackage(t *testing.T) {
	const text = `Activity Resolver Table:
  Non-Data Actions:
      android.intent.action.MAIN:
        a1b2c3 com.other.app/.Main filter d4
Packages:
  Package [com.other.app.debug] (77):
    versionCode=7 minSdk=21 targetSdk=30
  Package [com.other.app] (5f2b1c3):
    userId=10123
    versionCode=1042 minSdk=23 targetSdk=34
    versionName=1.4.2
    lastUpdateTime=2026-11-23 09:00:00
Hidden system packages:
  Package [com.other.app] (aa):
    versionCode=1 minSdk=21
    lastUpdateTime=2009-01-01 00:00:00
`
	got, ok := ParsePackage(text, "com.other.app")
	want := Package{Name: "com.other.app", VersionCode: 1042, VersionName: "1.4.2", LastUpdateTime: "2026-11-23 09:00:00"}
	if !ok || got != want {
		t.Errorf("got %+v %v, want %+v", got, ok, want)
	}
	if got, ok := ParsePackage("Unable to find package: x.y\n", "x.y"); ok {
		t.Errorf("a package that is not there: %+v", got)
	}
}

func TestParseSmall(t *testing.T) {
	if got := ParsePath("package:/data/app/~~x==/a.b-1/split_de.apk\npackage:/data/app/~~x==/a.b-1/base.apk\n"); got != "/data/app/~~x==/a.b-1/base.apk" {
		t.Errorf("path %q", got)
	}
	if got := ParsePath("\n"); got != "" {
		t.Errorf("path %q", got)
	}
	if got := ParseBattery("  AC powered: false\n  USB powered: true\n  present: true\n  level: 40\n  scale: 200\n"); got != (Battery{20, true}) {
		t.Errorf("battery %+v", got)
	}
	if got := ParseBattery("Can't find service: battery\n"); got != (Battery{Level: -1}) {
		t.Errorf("battery %+v", got)
	}
	for text, want := range map[string]int64{
		"Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/dm-8 116 9 4096 93% /data\n":                                  4096 << 10,
		"Filesystem           1K-blocks      Used Available Use% Mounted on\n/dev/block/a/very/long/name\n  116  9  2048  93% /data\n": 2048 << 10,
	} {
		if got, err := ParseFree(text); err != nil || got != want {
			t.Errorf("free %d, %v; want %d", got, err, want)
		}
	}
	for _, text := range []string{"", "df: /data: Permission denied\n", "a\nb c d\n", "a\n1 2 -3 4% /data\n"} {
		if got, err := ParseFree(text); err == nil {
			t.Errorf("df %q gives %d", text, got)
		}
	}
	for text, want := range map[string]bool{"Active default network: none\n": false, "x\nActive default network: 100\n": true, "": true} {
		if got := ParseNetwork(text); got != want {
			t.Errorf("network of %q is %v", text, got)
		}
	}
	props := ParseProps("[ro.a]: [b]\n[empty]: []\nnoise\n[multi]: [x\ny]\n")
	if len(props) != 2 || props["ro.a"] != "b" {
		t.Errorf("props %q", props)
	}
}

func TestParseInstall(t *testing.T) {
	for _, test := range []struct{ text, code, words string }{
		{"Success\n", "", ""},
		{"Performing Streamed Install\nSuccess\n", "", ""},
		{"Failure [INSTALL_FAILED_VERSION_DOWNGRADE: Downgrade detected]\n", "INSTALL_FAILED_VERSION_DOWNGRADE", "Downgrade"},
		{"\nException occurred while executing 'install':\njava.lang.IllegalStateException: x\n", "", "Exception occurred"},
		{"Success\nFailure [DELETE_FAILED_INTERNAL_ERROR]\n", "DELETE_FAILED_INTERNAL_ERROR", "Failure"},
		{"", "", "without a word"},
		{"cmd: Can't find service: package\n", "", "Can't find service"},
	} {
		err := ParseInstall(test.text)
		if (err == nil) != (test.words == "") {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if e, ok := err.(*InstallError); err != nil && (!ok || e.Code != test.code || !strings.Contains(e.Message, test.words)) { //nolint:errorlint // the type is the contract
			t.Errorf("%q: %+v", test.text, err)
		}
	}
}

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"dev.qgjob.demo": true, "a.b": true, "com.Foo_1.b2": true,
		"demo": false, "": false, "a..b": false, "1a.b": false, "a.b;reboot": false, "a.b c": false, "a.$b": false, "a.b\n": false, ".a.b": false,
	} {
		if ValidPackage(s) != want {
			t.Errorf("ValidPackage(%q) is %v", s, !want)
		}
	}
	for s, want := range map[string]bool{
		"emulator-5554": true, "192.168.1.7:5555": true, "adb-1A-x._adb-tls-connect._tcp": true, "[fe80::1%25eth0]:5555": false,
		"": false, "-s": false, "a b": false, "a\nb": false, strings.Repeat("a", 200): false,
	} {
		if ValidSerial(s) != want {
			t.Errorf("ValidSerial(%q) is %v", s, !want)
		}
	}
}

// TestQuote asks a real shell what it makes of the line.
func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	args := []string{"", "a b", "it's", `"$HOME" \n`, "`reboot`", "$(reboot)", "a;b|c&d>e", "*", "~", "--x=1", "ü\t\n!", "#", "{a,b}"}
	out, err := exec.CommandContext(t.Context(), sh, "-c", "printf '%s\\0' "+Quote(args...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, args) {
		t.Errorf("the shell read %q, want %q", got, args)
	}
}

// FuzzShell: packets of a device, which may be cut, long or wrong.
func FuzzShell(f *testing.F) {
	f.Add([]byte("\x01\x02\x00\x00\x00ok\x03\x01\x00\x00\x00\x07"))
	f.Add([]byte("\x01\xff\xff\xff\xffxx"))
	f.Add([]byte("\x03\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 12
		out, err := readShell(bytes.NewReader(b), limit)
		if err == nil && (out.stdout.Len()+out.stderr.Len() > limit || out.code < 0 || out.code > 255) {
			t.Errorf("%d and %d bytes, code %d", out.stdout.Len(), out.stderr.Len(), out.code)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("emulator-5554 device model:x\n")
	f.Add("package:/a/base.apk\n[a]: [b]\nlevel: 3\nscale: 7\n")
	f.Add("h\n/dev 1 2 3 4% /data\n  Package [a.b] (1):\n versionCode=3 x\nFailure [INSTALL_FAILED_X]")
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range ParseDevices(text) {
			if !ValidSerial(d.Serial) || d.State == "" {
				t.Errorf("device %+v", d)
			}
		}
		if p, ok := ParsePackage(text, "a.b"); ok && (p.Name != "a.b" || p.VersionCode < 0) {
			t.Errorf("package %+v", p)
		}
		if b := ParseBattery(text); b.Level < -1 || b.Level > 100 {
			t.Errorf("battery %+v", b)
		}
		if n, err := ParseFree(text); err == nil && n < 0 {
			t.Errorf("free %d", n)
		}
		if err := ParseInstall(text); err != nil && strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("an error of several lines: %q", err)
		}
		ParsePath(text)
		ParseProps(text)
		ParseNetwork(text)
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("it's", "a b")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") {
			return
		}
		words := unquote(Quote(a, b))
		if !slices.Equal(words, []string{a, b}) {
			t.Errorf("%q is read as %q", []string{a, b}, words)
		}
	})
}

// unquote reads words as POSIX.1 2.2 says: single quotes and backslashes.
func unquote(line string) []string {
	var words []string
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			quoted, in = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == '\\':
			i++
			word.WriteByte(line[i])
			in = true
		case c == ' ':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
