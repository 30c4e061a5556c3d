package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/blob"
	"github.com/qualgent/qgjob/internal/server"
	"github.com/qualgent/qgjob/internal/server/oidc"
	"github.com/qualgent/qgjob/internal/store"
)

// serverOptions are the flags of everything that runs a server.
type serverOptions struct {
	listen, dataDir, database  string
	blobs                      string // empty: in dataDir
	telling                    tellingOptions
	leaseTTL                   time.Duration
	historyAfter, keepHistory  time.Duration // 0: the default, and for ever
	tlsCert, tlsKey, tokenFile string
	oidcConfig                 string
	insecure                   bool
	ha                         bool // nothing is acknowledged before a standby has it
	localOnly                  bool // the command has no flags for more
}

const (
	shutdownWithin = 10 * time.Second // for answers under way when the server stops
	minToken       = 16               // bytes
	maxToken       = 4096             // bytes
)

// check refuses what cannot be served, and what should not be: a server that
// others can reach without TLS and a token runs whatever they submit.
func (o *serverOptions) check() error {
	host, _, err := net.SplitHostPort(o.listen)
	switch {
	case err != nil:
		return usage("listen", "%q is not an address such as 127.0.0.1:8000", o.listen)
	case o.dataDir == "":
		return usage("data-dir", "must not be empty")
	case o.database != "" && !store.IsPostgres(o.database):
		return usage("database", "must be a URL of PostgreSQL such as postgres://USER@HOST:5432/NAME; without it SQLite in --data-dir is used")
	case o.ha && o.database == "":
		return usage("ha", "needs PostgreSQL with a synchronous standby: name its primary with --database=postgres://…")
	case o.leaseTTL < time.Second || o.leaseTTL > time.Hour:
		return usage("lease-ttl", "%v is out of range; allowed: 1s to 1h", o.leaseTTL)
	case o.historyAfter != 0 && (o.historyAfter < time.Second || o.historyAfter > 30*24*time.Hour):
		return usage("history-after", "%v is out of range; allowed: 1s to 720h", o.historyAfter)
	case o.keepHistory != 0 && (o.keepHistory < server.KeepKeys || o.keepHistory < o.historyAfter):
		return usage("keep-history", "%v is out of range; allowed: 0 (for ever), or %v and more", o.keepHistory, max(server.KeepKeys, o.historyAfter))
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return usage("tls-cert", "--tls-cert and --tls-key belong together")
	case o.insecure || loopback(host):
		return nil
	case o.localOnly:
		return usage("listen", "%s can be reached by others; this command listens on loopback only (use qgjob server, with TLS and a token)", o.listen)
	case o.tlsCert == "":
		return usage("listen", "%s can be reached by others: give --tls-cert, --tls-key and a token (--token-file or QGJOB_SERVER_TOKEN), or say --insecure", o.listen)
	}
	return nil
}

// guarded refuses to serve others without asking for tokens. Those in the
// database count.
func (o *serverOptions) guarded(ctx context.Context, r *running) error {
	host, _, _ := net.SplitHostPort(o.listen)
	if o.insecure || loopback(host) {
		return nil
	}
	asks, err := r.server.AsksForTokens(ctx)
	if err == nil && !asks {
		err = usage("listen", "%s can be reached by others, and there is no token yet: give --token-file or QGJOB_SERVER_TOKEN, make one on loopback first (qgjob token create --kind=admin --all-orgs), or say --insecure", o.listen)
	}
	return err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (o *serverOptions) token(a *app) (string, error) {
	if o.tokenFile == "" {
		return checkToken("QGJOB_SERVER_TOKEN", a.env["QGJOB_SERVER_TOKEN"])
	}
	return a.readToken(o.tokenFile)
}

// readToken reads the file of a --token-file.
func (a *app) readToken(file string) (string, error) {
	f, err := os.Open(a.path(file))
	if err != nil {
		return "", usage("token-file", "%v", err)
	}
	defer f.Close()
	text := make([]byte, maxToken+1)
	n, _ := f.Read(text)
	token := strings.TrimSpace(string(text[:n]))
	if token == "" {
		token = " " // an empty file is no way to have no token
	}
	return checkToken(file, token)
}

// trusted reads whose id-tokens are taken; nil without --oidc-config.
func (o *serverOptions) trusted(a *app) (*oidc.Verifier, error) {
	if o.oidcConfig == "" {
		return nil, nil
	}
	text, err := readSmall(a.path(o.oidcConfig))
	if err != nil {
		return nil, usage("oidc-config", "%v", err)
	}
	config, err := oidc.ReadConfig(text)
	if err != nil {
		return nil, err
	}
	return oidc.New(*config, nil)
}

func checkToken(where, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	if len(token) < minToken || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usage("token-file", "%s must hold one token of %d to %d characters of ASCII without blanks", where, minToken, maxToken)
	}
	return token, nil
}

// running is a server that listens.
type running struct {
	app      *app
	options  *serverOptions
	base     string // its address as a URL
	token    string // that lets this process in
	listener net.Listener
	door     door
	http     *http.Server
	serving  sync.WaitGroup // http, once it answers
	failed   chan error     // why it stopped without being told to
	config   server.Config  // what server is made of; Hub and Store come with the data
	server   *server.Server
	store    *store.Store
}

// door leads requests to whoever answers now.
type door struct{ to atomic.Pointer[http.Handler] }

func (d *door) lead(to http.Handler) { d.to.Store(&to) }

// ServeHTTP lets a request in.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*d.to.Load()).ServeHTTP(w, r) }

// openServer opens the listener and the data; nothing is answered yet.
func (a *app) openServer(ctx context.Context, o *serverOptions, log *slog.Logger) (*running, error) {
	r, err := a.newServer(ctx, o, log)
	if err != nil {
		return nil, err
	}
	if err := r.openData(ctx); err != nil {
		return nil, errors.Join(err, r.listener.Close())
	}
	return r, nil
}

// newServer reads all that the flags name, and opens the listener.
func (a *app) newServer(ctx context.Context, o *serverOptions, log *slog.Logger) (*running, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	root, err := o.token(a)
	if err != nil {
		return nil, err
	}
	r := &running{app: a, options: o, token: root, failed: make(chan error, 1)}
	if root == "" {
		r.token = rand.Text()
	}
	r.config = server.Config{Token: root, Inner: r.token, Version: Version, Log: log, HistoryAfter: o.historyAfter, KeepHistory: o.keepHistory}
	if r.config.Telling, err = o.telling.telling(a); err != nil {
		return nil, err
	}
	if r.config.OIDC, err = o.trusted(a); err != nil {
		return nil, err
	}
	if r.listener, err = o.open(ctx); err != nil {
		return nil, err
	}
	r.base = o.base(r.listener.Addr())
	r.http = &http.Server{
		Handler: &r.door, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return r, nil
}

// openData opens what is kept, and makes of it the server that the door leads
// to. When it fails nothing is left open.
func (r *running) openData(ctx context.Context) (err error) {
	o := r.options
	hub := server.NewHub()
	database := o.database
	if database == "" {
		database = r.app.path(o.dataDir)
	}
	s, err := store.Open(ctx, database, store.Options{LeaseTTL: o.leaseTTL, HA: o.ha, Retried: true, Notify: hub.Notify,
		UpgradeWithin: cmp.Or(o.historyAfter, server.DefaultHistoryAfter), Log: r.config.Log})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := r.openBlobs(ctx); err != nil {
		return err
	}
	config := r.config
	config.Store, config.Hub = s, hub
	if r.server, err = server.New(config); err != nil {
		return err
	}
	r.store = s
	if err := o.guarded(ctx, r); err != nil {
		return err
	}
	handler := r.server.Handler()
	if r.config.Token == "" && !o.insecure {
		handler = onlyLocal(r.open, handler)
	}
	r.door.lead(handler)
	return nil
}

// open reports whether the server answers everybody. Whoever cannot tell is
// told no: then every request is asked for a token, or fails.
func (r *running) open(ctx context.Context) bool {
	asks, err := r.server.AsksForTokens(ctx)
	return err == nil && !asks
}

func (o *serverOptions) open(ctx context.Context) (net.Listener, error) {
	var config *tls.Config
	if o.tlsCert != "" {
		pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
		if err != nil {
			return nil, usage("tls-cert", "%v", err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, &qgjob.Error{Kind: qgjob.KindUnavailable, Message: "cannot listen on " + o.listen, Err: errors.Unwrap(err), Hint: "does another server run there? name another address with --listen"}
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

// openBlobs opens, once, where builds, bundles and artifacts are kept.
func (r *running) openBlobs(ctx context.Context) (err error) {
	if r.config.Blobs == nil {
		r.config.Blobs, err = r.options.openBlobs(ctx, r.app)
	}
	return err
}

func (o *serverOptions) openBlobs(ctx context.Context, a *app) (server.Blobs, error) {
	limits := blob.Limits{MaxSize: qgjob.MaxAppBuild}
	switch {
	case blob.IsBucket(o.blobs):
		return blob.OpenBucket(ctx, o.blobs, limits)
	case o.blobs != "":
		return blob.OpenFolder(a.path(o.blobs), limits)
	}
	return blob.OpenFolder(filepath.Join(a.path(o.dataDir), "blobs"), limits)
}

// base is the address under which people on this machine reach the listener.
func (o *serverOptions) base(at net.Addr) string {
	scheme := "http"
	if o.tlsCert != "" {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(at.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, port))
}

// answer lets the door take requests.
func (r *running) answer() {
	r.serving.Go(func() {
		if err := r.http.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
			r.failed <- err
		}
	})
}

// hangUp lets answers under way finish, and stops listening.
func (r *running) hangUp(ctx context.Context) {
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
	defer stop()
	if err := r.http.Shutdown(grace); err != nil {
		_ = r.http.Close()
	}
	r.serving.Wait()
}

// serve keeps a server that answers going until ctx ends: then long polls and
// streams end, answers under way are finished, and the store is closed.
func (r *running) serve(ctx context.Context) error {
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	var looping sync.WaitGroup
	var loopErr error
	looping.Go(func() { loopErr = r.server.Run(loops) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-r.failed:
	}
	stopLoops()
	r.hangUp(ctx)
	looping.Wait()
	return errors.Join(err, loopErr, r.store.Close())
}

// logger writes what servers and agents do to stderr.
func (a *app) logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}
