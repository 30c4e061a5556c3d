package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// hostCmds are the commands that do not ask a server but are one, or serve
// one.
func (a *app) hostCmds() []*cobra.Command {
	return []*cobra.Command{a.serverCmd(), a.agentCmd(), a.upCmd()}
}

// add registers the flags that every command with a server has.
func (o *serverOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8000", "address to listen on; port 0 takes a free one")
	f.StringVar(&o.dataDir, "data-dir", "./qgjob-data", "where everything is kept; made when missing")
	f.DurationVar(&o.leaseTTL, "lease-ttl", 30*time.Second, "an agent that is silent for so long has lost its job")
}

func (a *app) serverCmd() *cobra.Command {
	o := &serverOptions{}
	verbose := false
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the server",
		Long: `Run the server. It keeps everything in --data-dir and loses nothing in a crash.
Off loopback it refuses to start without TLS and a token, unless --insecure
says so: whoever reaches it may run programs on its agents.`,
		Example: `  qgjob server
  qgjob server --listen=0.0.0.0:8443 --tls-cert=cert.pem --tls-key=key.pem --token-file=token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runServer(cmd.Context(), o, verbose) },
	}
	o.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.database, "database", "", "a database other than SQLite in --data-dir; not in this version")
	f.StringVar(&o.tlsCert, "tls-cert", "", "certificate chain, PEM")
	f.StringVar(&o.tlsKey, "tls-key", "", "its key, PEM")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the token that clients and agents must have in QGJOB_TOKEN")
	f.BoolVar(&o.insecure, "insecure", false, "listen off loopback without TLS or token")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

func (a *app) runServer(ctx context.Context, o *serverOptions, verbose bool) error {
	r, err := a.openServer(ctx, o, a.logger(verbose))
	if err != nil {
		return err
	}
	a.answer("Server listening: %s", r.base)
	if o.insecure {
		a.note("--insecure: everybody who reaches %s may run programs on its agents", o.listen)
	}
	signals := a.stops.take()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			a.note("stopping; interrupt again to leave at once")
			stop()
		}
		<-signals
		a.exit(exitInterrupted)
	}()
	return r.serve(ctx)
}
