package appium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/proc"
)

const (
	startTime  = 90 * time.Second // for a server to come up; a laptop takes two seconds
	statusTime = 5 * time.Second  // for an answer to /status
	statusPoll = 100 * time.Millisecond
	maxAnswer  = 1 << 20 // bytes
	maxLog     = 1 << 20 // bytes of Appium's log kept in memory
)

// Options say how a device's Appium runs.
type Options struct {
	Program  Program
	Home     string                     // APPIUM_HOME, as Home made it
	Driver   string                     // the only driver it loads: Driver.Name
	Dir      string                     // the device's own folder, for temporary files; it must exist
	Port     int                        // of the server, waited for; 0 chooses a free one
	Defaults func(Ports) map[string]any // capabilities of sessions that do not name them; may be nil
	Env      []string                   // its whole environment, without APPIUM_HOME
	Log      *slog.Logger               // starts, restarts, ends
	Warn     func(string)               // see proc.Command
}

// Server is the Appium of one device. One goroutine uses it at a time.
type Server struct {
	Options
	words   recent // what it said
	process *proc.Process
	claim   *claim
	starts  int
	client  http.Client
}

// Running is a server that answered just now.
type Running struct {
	URL   string // http://127.0.0.1:PORT
	Ports Ports
}

// Address is the server's host:port.
func (r Running) Address() string { return loopback(r.Ports.Server) }

// NewServer gives a server that is not started yet.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		Options: o, words: recent{limit: maxLog},
		client: http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Ready gives the running server: the one there is when it answers, else a
// new one. Its error is a *qgjob.Error of KindUnavailable with Appium's own
// last words.
func (s *Server) Ready(ctx context.Context) (Running, error) {
	if s.process != nil {
		err := s.status(ctx)
		if err == nil {
			return s.running(), nil
		}
		if ctx.Err() != nil {
			return Running{}, context.Cause(ctx)
		}
		s.Log.Warn("Appium is ill and is started again", "cause", err, "last_words", lastLine(s.words.bytes()))
		if err := s.Close(); err != nil {
			return Running{}, err
		}
	}
	if err := s.start(ctx); err != nil {
		return Running{}, errors.Join(err, s.Close())
	}
	return s.running(), nil
}

func (s *Server) running() Running {
	return Running{URL: "http://" + loopback(s.claim.ports.Server), Ports: s.claim.ports}
}

// Starts is how often the server was started, counted.
func (s *Server) Starts() int { return s.starts }

func (s *Server) start(ctx context.Context) error {
	ports, err := claimPorts(ctx)
	if err != nil {
		return err
	}
	s.claim = ports
	if s.Port != 0 {
		if err := ports.take(ctx, s.Port); err != nil {
			return err
		}
	}
	tmp := filepath.Join(s.Dir, "tmp")
	if err := errors.Join(os.RemoveAll(tmp), os.MkdirAll(tmp, 0o700)); err != nil {
		return err
	}
	s.words.reset()
	argv := []string{
		"node", s.Program.main(), "server", "--address", "127.0.0.1", "--port", strconv.Itoa(s.claim.ports.Server),
		"--use-drivers", s.Driver, "--tmp", tmp, "--log-no-colors", "--log-timestamp", "--local-timezone",
	}
	if s.Defaults != nil {
		text, err := json.Marshal(s.Defaults(s.claim.ports))
		if err != nil {
			return err
		}
		argv = append(argv, "--default-capabilities", string(text))
	}
	s.process, err = proc.Start(proc.Command{
		Argv: argv, Dir: s.Dir, Stdout: &s.words, Stderr: &s.words, Warn: s.Warn, Grace: 3 * time.Second,
		Env: append(slices.Clone(s.Env), "APPIUM_HOME="+s.Home),
	})
	if err != nil {
		return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "Appium cannot be started: " + err.Error(),
			Hint: "Node.js 20 or newer must be in the agent's PATH"}
	}
	s.starts++
	began := time.Now()
	if err := s.comeUp(ctx); err != nil {
		return err
	}
	s.Log.Info("Appium runs", "address", loopback(s.claim.ports.Server), "version", s.Program.Version, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// comeUp waits until the server answers.
func (s *Server) comeUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("no answer from Appium within %s", startTime))
	defer cancel()
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.unavailable(context.Cause(ctx).Error())
		case <-s.process.Done():
			return s.unavailable(fmt.Sprintf("Appium ended at once (%s)", s.process.Wait()))
		case <-tick.C:
		}
		if s.status(ctx) == nil {
			return nil
		}
	}
}

func (s *Server) unavailable(what string) error {
	return &qgjob.Error{Kind: qgjob.KindUnavailable, Message: what + ": " + lastLine(s.words.bytes()),
		Hint: "run qgjob agent doctor on this machine"}
}

// Status says why the server cannot take a session now, or nil. One that was
// not started cannot.
func (s *Server) Status(ctx context.Context) error {
	if s.process == nil {
		return errors.New("it does not run")
	}
	return s.status(ctx)
}

func (s *Server) status(ctx context.Context) error {
	select {
	case <-s.process.Done():
		return fmt.Errorf("it has ended: %s", s.process.Wait())
	default:
	}
	var answer struct {
		Value struct {
			Ready bool `json:"ready"`
		} `json:"value"`
	}
	if err := s.ask(ctx, http.MethodGet, "/status", &answer); err != nil {
		return err
	}
	if !answer.Value.Ready {
		return errors.New("it says that it is not ready")
	}
	return nil
}

// Tidy ends the sessions that a job has left behind: the next one would find
// the device taken. A server that does not answer is ended.
func (s *Server) Tidy(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	var open struct {
		Value []struct {
			ID string `json:"id"`
		} `json:"value"`
	}
	err := s.ask(ctx, http.MethodGet, "/sessions", &open)
	for _, session := range open.Value {
		if err == nil {
			err = s.ask(ctx, http.MethodDelete, "/session/"+session.ID, nil)
		}
	}
	if err == nil {
		return nil
	}
	s.Log.Warn("Appium is ended: it does not give up a session", "cause", err)
	return s.Close()
}

// ask sends a request without a body and reads the answer into to, if given.
func (s *Server) ask(ctx context.Context, method, path string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+loopback(s.claim.ports.Server)+path, nil)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s with %s", path, res.Status)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(text, to)
}

// Mark forgets what Appium said so far: what Said gives then is the next job's.
func (s *Server) Mark() { s.words.reset() }

// Said is what Appium said since Mark or its start, the newest MiB of it.
func (s *Server) Said() []byte { return s.words.bytes() }

// Close ends the server with everything that it started, and waits for that.
func (s *Server) Close() error {
	if s.process != nil {
		s.process.Cancel(errors.New("the agent ends its Appium"))
		s.process.Wait()
		s.process = nil
	}
	err := s.claim.release()
	s.claim = nil
	return err
}
