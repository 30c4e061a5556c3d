//go:build unix

package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/adb"
	"github.com/qualgent/qgjob/internal/client"
)

// agentProcess is a whole agent in a process of its own: SERVER STATE PROJECT,
// and of one with an emulator ADB AVD.
func agentProcess(args []string) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := client.New(args[0], client.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config := Config{
		Server: c, Name: "a1", Target: qgjob.TargetEmulator, Runner: "exec", ExecArgv: []string{self, "test-program"},
		StateDir: args[1], ProjectDir: args[2],
	}
	if len(args) == 5 {
		config.Device, config.ADB, config.AVDs = DeviceADB, adb.New(args[3]), args[4:]
		config.EmulatorProgram, config.PassEnv = self, []string{"FAKE_EMULATOR"}
	}
	err = Run(context.Background(), config)
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// process starts the rig's agent as a process of its own.
func (r *rig) process(t *testing.T, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(r.config.ExecArgv[0], append([]string{"agent-process", r.http.URL, r.config.StateDir, r.config.ProjectDir}, more...)...)
	cmd.Stderr = r.logged
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

// kill is kill -9 of that one process.
func kill(cmd *exec.Cmd) {
	cmd.Process.Kill()
	cmd.Wait()
}

// TestFault_FinishedResultsSurviveTheAgent: kill -9 at the points after the
// result was made safe; the next process delivers it once, with log and
// artifacts.
func TestFault_FinishedResultsSurviveTheAgent(t *testing.T) {
	points := []struct {
		name string
		at   string // the call in whose midst the agent dies
		done bool   // the server has taken it
	}{
		{"before the artifact", "/artifacts", false},
		{"before the result arrives", "/complete", false},
		{"before the acknowledgement arrives", "/complete", true},
	}
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			r := newRig(t)
			l := r.submit(r.test(t, "a.js", "lines 5000", "output x.txt kept", "exit 1"), nil)
			reached, dead := make(chan struct{}), make(chan struct{})
			var first atomic.Bool
			r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, point.at) || first.Swap(true) {
					return false
				}
				if point.done {
					r.mux.ServeHTTP(discard{}, q)
				}
				close(reached)
				<-dead
				return true
			})
			old := r.process(t)
			select {
			case <-reached:
			case <-tooLate():
				close(dead)
				t.Fatalf("never reached; the agent logged %s", r.logged)
			}
			kill(old)
			close(dead)
			r.begin(t)
			got := r.result(t, l)
			want(t, got, qgjob.OutcomeFailed, qgjob.ReasonExit)
			r.until(t, "the new incarnation", func() bool { return len(r.told) == 2 })
			r.mu.Lock()
			defer r.mu.Unlock()
			if l.accepted != 1 {
				t.Errorf("the result was accepted %d times", l.accepted)
			}
			if r.told[1].Incarnation <= r.told[0].Incarnation {
				t.Errorf("incarnations %d, %d do not rise", r.told[0].Incarnation, r.told[1].Incarnation)
			}
			if n := strings.Count(string(l.log), "of a long log\n"); n != 5000 {
				t.Errorf("the log holds %d lines of 5000", n)
			}
			if _, ok := l.artifacts["output/x.txt"]; !ok {
				t.Errorf("artifacts %v", l.artifacts)
			}
		})
	}
}

// TestFault_DeadAgentsLeaveNoTestBehind: what ran dies with it, its folder is
// removed by the next process, and nothing is reported for it.
func TestFault_DeadAgentsLeaveNoTestBehind(t *testing.T) {
	r := newRig(t)
	lifeline, pipe := r.pipe(t), r.pipe(t)
	l := r.submit(r.test(t, "a.js", "hold "+lifeline), nil)
	old := r.process(t)
	held, err := os.Open(lifeline)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	r.logHas(t, l, "holds")
	work := filepath.Join(r.config.StateDir, "agents", "a1", "work", string(l.offer.LeaseID))
	if _, err := os.Stat(work); err != nil {
		t.Fatal(err)
	}
	kill(old)
	if err := held.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the test outlived its agent: %v", err)
	}
	next := r.submit(r.test(t, "b.js", "await "+pipe), nil)
	r.begin(t)
	r.logHas(t, next, "waits")
	if _, err := os.Stat(work); err == nil {
		t.Error("the folder of a dead attempt is still there")
	}
	release(t, pipe)
	want(t, r.result(t, next), qgjob.OutcomePassed, "")
	if len(l.results) != 0 {
		t.Errorf("an attempt without a result was reported: %+v", l.results)
	}
}

// TestOneProcessForOneAgent: the second is told who has the name.
func TestOneProcessForOneAgent(t *testing.T) {
	r := newRig(t)
	old := r.process(t)
	r.until(t, "the first agent", func() bool { return len(r.told) == 1 })
	r.begin(t)
	err := r.end(t)
	if qgjob.KindOf(err) != qgjob.KindConflict || !strings.Contains(err.Error(), fmt.Sprint(old.Process.Pid)) {
		t.Fatalf("the second agent ended with %v, want the pid %d", err, old.Process.Pid)
	}
	if len(r.told) != 1 {
		t.Error("the second agent registered")
	}
}

// TestRestartKnowsWhatTheDeviceHolds: no install after a restart.
func TestRestartKnowsWhatTheDeviceHolds(t *testing.T) {
	r := newRig(t)
	build := []byte("an app build")
	app := &qgjob.App{SHA256: r.upload(build), FileName: "shop.apk"}
	first := r.submit(r.test(t, "a.js", "app"), app)
	old := r.process(t)
	if got := r.result(t, first); got.Install != qgjob.InstallDone {
		t.Errorf("first install %q", got.Install)
	}
	kill(old)
	second := r.submit(r.test(t, "b.js", "app"), app)
	r.begin(t)
	if got := r.result(t, second); got.Install != qgjob.InstallAvoided {
		t.Errorf("install after the restart %q", got.Install)
	}
	if told := r.told[1].Installed; told == nil || told.BuildSHA256 != app.SHA256 {
		t.Errorf("registered with %+v", told)
	}
	// What the device holds is looked at, not remembered.
	third := r.submit(r.test(t, "c.js", "app"), app)
	if err := os.WriteFile(filepath.Join(r.config.StateDir, "agents", "a1", "device", "app", "shop.apk"), []byte("tampered"), 0o600); err != nil {
		t.Fatal(err)
	}
	fourth := r.submit(r.test(t, "d.js", "app"), app)
	r.result(t, third)
	r.result(t, fourth)
	if strings.Contains(string(fourth.log), "tampered") {
		t.Error("a test saw a tampered build")
	}
}
