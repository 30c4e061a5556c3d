package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/qualgent/qgjob"
)

// Limits of a connection. Answers have no deadline: claims wait and streams
// go on; bodies have theirs, see bounded.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	shutdownGrace  = 10 * time.Second
)

// Serve answers on ln until ctx ends; then it ends polls and streams, lets
// what is under way finish within ten seconds, and returns nil. secure is nil
// for plain HTTP. Run must be going meanwhile.
func (s *Server) Serve(ctx context.Context, ln net.Listener, secure *tls.Config) error {
	srv := &http.Server{Handler: s.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		TLSConfig: secure, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() {
		if secure != nil {
			served <- srv.ServeTLS(ln, "", "")
			return
		}
		served <- srv.Serve(ln)
	}()
	select {
	case err := <-served:
		s.stop()
		return qgjob.Unavailable(err, "the server stopped listening on %s", ln.Addr())
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := srv.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // who has not finished by now is cut off
	}
	<-served //nolint:errcheck // http.ErrServerClosed, as asked for
	return err
}

// CheckListen refuses (invalid) to be reachable from other machines without
// TLS and a token, unless insecure says that this is meant.
func CheckListen(addr string, secure, token, insecure bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		e := qgjob.Invalid("listen", fmt.Sprintf("--listen %q is not HOST:PORT", addr))
		e.Hint = "such as 127.0.0.1:8000"
		return e
	}
	if insecure || loopback(host) || (secure && token) {
		return nil
	}
	missing := "--tls-cert, --tls-key and --token-file"
	switch {
	case secure:
		missing = "--token-file"
	case token:
		missing = "--tls-cert and --tls-key"
	}
	e := qgjob.Invalid("listen", fmt.Sprintf("--listen %s can be reached from other machines, which needs %s", addr, missing))
	e.Hint = "give them, listen on 127.0.0.1, or say --insecure"
	return e
}

// loopback reports whether a host is this machine only. Names other than
// localhost are not looked up: what they mean may change.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
