package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
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
