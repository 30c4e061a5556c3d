package runner

import (
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
)

// allowed are the variables of the agent's environment that tests need to run
// at all. Everything else stays with the agent: tokens above all.
var allowed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
	"PLAYWRIGHT_BROWSERS_PATH", "ANDROID_HOME", "ANDROID_SDK_ROOT", "JAVA_HOME",
	// Where adb finds its server (adb(1)).
	"ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT", "ADB_SERVER_SOCKET",
	// Without these, programs do not start on Windows.
	"SystemRoot", "SYSTEMROOT", "SystemDrive", "ComSpec", "COMSPEC", "PATHEXT", "windir", "APPDATA", "LOCALAPPDATA",
	"USERPROFILE", "ProgramData", "ProgramFiles", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
}

// never are the variables that no test may see, asked for or not.
var never = []string{"QGJOB_TOKEN"}

// Env picks from base (KEY=VALUE, as os.Environ gives it) what tests may see:
// what programs need, the locale, and the variables named in more.
func Env(base, more []string) []string {
	var out []string
	for _, kv := range base {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" || slices.Contains(never, key) {
			continue
		}
		if slices.Contains(allowed, key) || slices.Contains(more, key) || strings.HasPrefix(key, "LC_") {
			out = append(out, kv)
		}
	}
	return out
}

// SetupEnv is Env with npm's own settings, for the installation of packages:
// registries and their credentials are npm's business, not the tests'.
func SetupEnv(base, more []string) []string {
	out := Env(base, more)
	for _, kv := range base {
		if key, _, _ := strings.Cut(kv, "="); strings.HasPrefix(strings.ToLower(key), "npm_config_") {
			out = append(out, kv)
		}
	}
	return out
}

// CheckPassEnv refuses names that tests may not see and text that is no name.
func CheckPassEnv(names []string) error {
	for _, name := range names {
		if slices.Contains(never, strings.ToUpper(name)) {
			return &qgjob.Error{Kind: qgjob.KindInvalid, Field: "env", Message: name + " is the agent's own and is not passed to tests"}
		}
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return qgjob.Invalid("env", "env wants names of environment variables, without = and values")
		}
	}
	return nil
}
