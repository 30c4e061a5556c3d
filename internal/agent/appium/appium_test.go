//go:build unix

package appium

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

func TestMain(m *testing.M) {
	proc.MaybeInit()
	os.Exit(m.Run())
}

// fakeProgram is testdata/appium, which node runs.
func fakeProgram(t *testing.T) Program {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("QGJOB_REQUIRE_BROWSER") != "" {
			t.Fatal(err)
		}
		t.Skip("needs node")
	}
	p, err := Find("testdata/appium", "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// put makes an npm package called appium in dir.
func put(t *testing.T, dir, version string) string {
	t.Helper()
	write(t, filepath.Join(dir, "package.json"), `{"name":"appium","version":"`+version+`"}`)
	write(t, filepath.Join(dir, "index.js"), "")
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFind(t *testing.T) {
	given := put(t, filepath.Join(t.TempDir(), "given"), "2.11.0")
	project, other := t.TempDir(), t.TempDir()
	inProject := put(t, filepath.Join(project, "node_modules", "appium"), "2.19.0")
	global := t.TempDir()
	inPath := put(t, filepath.Join(global, "lib", "appium"), "2.0.0")
	if err := errors.Join(os.Mkdir(filepath.Join(global, "bin"), 0o700), os.Chmod(filepath.Join(inPath, "index.js"), 0o700),
		os.Symlink(filepath.Join(inPath, "index.js"), filepath.Join(global, "bin", "appium"))); err != nil {
		t.Fatal(err)
	}
	path := "relative/bin:" + t.TempDir() + ":" + filepath.Join(global, "bin")
	for _, c := range []struct {
		name     string
		given    string
		path     string
		projects []string
		want     string
	}{
		{"given", given, path, []string{project}, given},
		{"the first project that has it", "", path, []string{"", other, project}, inProject},
		{"the path", "", path, []string{other}, inPath},
	} {
		if p, err := Find(c.given, c.path, c.projects...); err != nil || p.Dir != c.want || p.Version == "" {
			t.Errorf("%s: %+v, %v; want %s", c.name, p, err, c.want)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	three := put(t, filepath.Join(t.TempDir(), "appium"), "3.1.0")
	impostor := t.TempDir()
	write(t, filepath.Join(impostor, "package.json"), `{"name":"leftpad","version":"2.0.0"}`)
	broken := t.TempDir()
	write(t, filepath.Join(broken, "package.json"), `{"name":"appium","ver`)
	for _, c := range []struct{ name, given, want string }{
		{"none anywhere", "", "npm install --save-dev appium@2.19.0"},
		{"no folder", filepath.Join(broken, "nothing"), "is no Appium"},
		{"another package", impostor, "does not name appium"},
		{"half a file", broken, "is no Appium"},
		{"a generation too far", three, "Appium 3.1.0 is not supported"},
	} {
		_, err := Find(c.given, "", t.TempDir())
		if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindInvalid || e.Hint == "" || !strings.Contains(err.Error(), c.want) && !strings.Contains(e.Hint, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFindDriver(t *testing.T) {
	modules := t.TempDir()
	p := Program{Dir: put(t, filepath.Join(modules, "appium"), "2.19.0"), Version: "2.19.0"}
	beside := filepath.Join(filepath.Dir(p.Dir), "appium-uiautomator2-driver")
	d, err := FindDriver("", p)
	if err != nil || d.Dir != "" || d.Version != PinnedDriver || d.Name != "uiautomator2" {
		t.Errorf("none there: %+v, %v", d, err)
	}
	// What AppWright's own reinstall leaves: a driver that Appium 2 refuses.
	write(t, filepath.Join(beside, "package.json"), `{"name":"appium-uiautomator2-driver","version":"8.1.0","appium":{"driverName":"uiautomator2"}}`)
	if d, err = FindDriver("", p); err != nil || d.Dir != "" {
		t.Errorf("a wrong one beside it: %+v, %v", d, err)
	}
	write(t, filepath.Join(beside, "package.json"), `{"name":"appium-uiautomator2-driver","version":"`+PinnedDriver+`","appium":{"driverName":"uiautomator2"}}`)
	if d, err = FindDriver("", p); err != nil || d.Dir != beside {
		t.Errorf("the right one beside it: %+v, %v", d, err)
	}
	if d, err = FindDriver("testdata/driver", p); err != nil || d.Name != "fake" || d.Package != "appium-fake-driver" || !filepath.IsAbs(d.Dir) {
		t.Errorf("given: %+v, %v", d, err)
	}
	for _, bad := range []string{filepath.Join(modules, "nothing"), p.Dir} {
		if _, err := FindDriver(bad, p); qgjob.KindOf(err) != qgjob.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func env(more ...string) []string { return append([]string{"PATH=" + os.Getenv("PATH")}, more...) }

// TestHomeIsMadeOnce for each driver, also when several ask at once, and not
// believed in when its making failed.
func TestHomeIsMadeOnce(t *testing.T) {
	p := fakeProgram(t)
	dir := t.TempDir()
	d, err := FindDriver("testdata/driver", p)
	if err != nil {
		t.Fatal(err)
	}
	other := Driver{Name: "uiautomator2", Package: "appium-uiautomator2-driver", Version: PinnedDriver}
	_, err = Home(t.Context(), dir, p, other, Setup{Env: env("FAKE_APPIUM=no-driver")})
	if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindUnavailable || !strings.Contains(e.Message, "registry cannot be reached") || e.Hint == "" {
		t.Fatalf("failed install: %v", err)
	}
	var all sync.WaitGroup
	homes := make([]string, 4)
	for i := range homes {
		all.Go(func() {
			home, err := Home(t.Context(), dir, p, other, Setup{Env: env()})
			if err != nil {
				t.Error(err)
			}
			homes[i] = home
		})
	}
	all.Wait()
	if len(slices.Compact(slices.Clone(homes))) != 1 {
		t.Errorf("homes %q", homes)
	}
	got, err := os.ReadFile(filepath.Join(dir, "installs"))
	want := "install --source=npm appium-uiautomator2-driver@" + PinnedDriver + "\n"
	if err != nil || string(got) != want+want {
		t.Errorf("installs:\n%s%v", got, err)
	}
	// A driver that is there needs neither npm nor Appium.
	home, err := Home(t.Context(), dir, Program{}, d, Setup{Env: []string{"PATH=/nowhere"}})
	if err != nil || home == homes[0] {
		t.Fatalf("a driver that is there: %s, %v", home, err)
	}
	list, err := os.ReadFile(filepath.Join(home, "node_modules", ".cache", "appium", "extensions.yaml"))
	var l struct {
		Drivers map[string]map[string]any
	}
	if err != nil || json.Unmarshal(list, &l) != nil || l.Drivers["fake"]["installPath"] != d.Dir || l.Drivers["fake"]["pkgName"] != "appium-fake-driver" || l.Drivers["fake"]["driverName"] != nil {
		t.Errorf("%s %v", list, err)
	}
}

func newServer(t *testing.T, misbehave string, more ...string) *Server {
	t.Helper()
	s := NewServer(Options{Program: fakeProgram(t), Home: t.TempDir(), Driver: "fake", Dir: t.TempDir(), Env: env(append(more, "FAKE_APPIUM="+misbehave)...)})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func up(t *testing.T, s *Server) Running {
	t.Helper()
	r, err := s.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// call asks the fake for something; an answer that never comes is "".
func call(t *testing.T, r Running, path string) string {
	t.Helper()
	res, err := http.Get(r.URL + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServerIsReusedAndRestarted(t *testing.T) {
	s := newServer(t, "")
	first := up(t, s)
	if again := up(t, s); again != first || s.Starts() != 1 {
		t.Errorf("a healthy server: %+v then %+v, %d starts", first, again, s.Starts())
	}
	call(t, first, "/ill")
	second := up(t, s)
	if s.Starts() != 2 || second.Ports.System == first.Ports.System {
		t.Errorf("an ill server: %+v then %+v, %d starts", first, second, s.Starts())
	}
	if call(t, first, "/status") != "" {
		t.Error("the ill server still answers")
	}
	call(t, second, "/crash")
	if s.Status(t.Context()) == nil {
		t.Error("a server that crashed is well")
	}
	if third := up(t, s); s.Starts() != 3 || third.Address() == "" {
		t.Errorf("a crashed server: %d starts", s.Starts())
	}
}

func TestServerIsTheDevicesOwn(t *testing.T) {
	s := newServer(t, "", "ANDROID_SERIAL=emulator-5554")
	s.Defaults = func(p Ports) map[string]any { return map[string]any{"appium:systemPort": p.System} }
	r := up(t, s)
	var facts struct {
		Value struct {
			Args []string
			Home string
			Env  []string
		}
	}
	if err := json.Unmarshal([]byte(call(t, r, "/facts")), &facts); err != nil {
		t.Fatal(err)
	}
	line := strings.Join(facts.Value.Args, " ")
	for _, want := range []string{"--address 127.0.0.1", "--use-drivers fake", "--tmp " + s.Dir, `--default-capabilities {"appium:systemPort":`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	if facts.Value.Home != s.Home || !slices.Contains(facts.Value.Env, "ANDROID_SERIAL") || slices.Contains(facts.Value.Env, "HOME") {
		t.Errorf("facts %+v", facts.Value)
	}
	other := up(t, newServer(t, ""))
	seen := map[int]bool{}
	for _, p := range []int{r.Ports.Server, r.Ports.System, r.Ports.MJPEG, r.Ports.Chrome, other.Ports.Server, other.Ports.System, other.Ports.MJPEG, other.Ports.Chrome} {
		if p < firstPort || p > lastPort || seen[p] {
			t.Errorf("port %d of %+v and %+v", p, r.Ports, other.Ports)
		}
		seen[p] = true
	}
}

// TestServerThatDoesNotComeUp says why in Appium's words, and does not hang.
func TestServerThatDoesNotComeUp(t *testing.T) {
	s := newServer(t, "exit")
	_, err := s.Ready(t.Context())
	if qgjob.KindOf(err) != qgjob.KindUnavailable || !strings.Contains(err.Error(), "EADDRINUSE") {
		t.Errorf("ended at once: %v", err)
	}
	deaf := newServer(t, "deaf")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("the preparation took too long"))
	defer cancel()
	if _, err := deaf.Ready(ctx); err == nil || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("deaf: %v", err)
	}
	if deaf.process != nil {
		t.Error("a server that never answered is left running")
	}
	nowhere := newServer(t, "")
	nowhere.Env = []string{"PATH=/nowhere"}
	if _, err := nowhere.Ready(t.Context()); qgjob.KindOf(err) != qgjob.KindUnavailable || !strings.Contains(err.Error(), "node") {
		t.Errorf("without node: %v", err)
	}
}

func TestTidyEndsSessions(t *testing.T) {
	s := newServer(t, "", "FAKE_SESSIONS=one,two")
	r := up(t, s)
	if err := s.Tidy(t.Context()); err != nil || s.Status(t.Context()) != nil {
		t.Fatalf("tidy: %v", err)
	}
	if got := call(t, r, "/sessions"); got != `{"value":[]}` {
		t.Errorf("sessions left: %s", got)
	}
	if said := string(s.Said()); !strings.Contains(said, "DELETE /session/one") || !strings.Contains(said, "DELETE /session/two") {
		t.Errorf("it heard %s", said)
	}
	s.Mark()
	if len(s.Said()) != 0 {
		t.Errorf("after a mark it said %q", s.Said())
	}
	clings := newServer(t, "clings", "FAKE_SESSIONS=one")
	up(t, clings)
	if err := clings.Tidy(t.Context()); err != nil || clings.process != nil {
		t.Errorf("a server that clings to a session: %v, process %v", err, clings.process)
	}
	if err := newServer(t, "").Tidy(t.Context()); err != nil {
		t.Errorf("never started: %v", err)
	}
}

// TestCloseEndsTheTree: also what left Appium's process group.
func TestCloseEndsTheTree(t *testing.T) {
	s := newServer(t, "")
	r := up(t, s)
	if got := call(t, r, "/child"); !strings.Contains(got, `"value":`) {
		t.Fatalf("child: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if call(t, r, "/status") != "" {
		t.Error("Appium outlived its Close")
	}
	// proc's own tests look at the tree; here it is enough that Wait, which ends with the last of it, has returned.
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestFixedPortIsWaitedFor(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	first, second := newServer(t, ""), newServer(t, "")
	first.Port, second.Port = port, port
	if r := up(t, first); r.Ports.Server != port {
		t.Fatalf("%+v", r)
	}
	got := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, err := second.Ready(ctx)
		got <- err
	}()
	cancel(errors.New("enough waiting"))
	if err := <-got; err == nil || !strings.Contains(err.Error(), "one run at a time") {
		t.Fatalf("the second run did not wait: %v", err)
	}
	go func() {
		_, err := second.Ready(t.Context())
		got <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the first run: %v", err)
	}
}

func TestRecentKeepsTheNewest(t *testing.T) {
	r := recent{limit: 10}
	for _, s := range []string{"abcdefgh", "ij", "klm", strings.Repeat("x", 25), "end"} {
		r.Write([]byte(s))
		if got := r.bytes(); len(got) > 10 || !strings.HasSuffix(string(got), s[max(0, len(s)-10):]) {
			t.Errorf("after %q: %q", s, got)
		}
	}
	if cap(r.text) > 100 {
		t.Errorf("it holds %d bytes", cap(r.text))
	}
}

func TestLastLine(t *testing.T) {
	for in, want := range map[string]string{"": "it said nothing", "\n \n": "it said nothing", "a\nb\n\n": "b", "one": "one"} {
		if got := lastLine([]byte(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
