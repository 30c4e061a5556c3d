package cli

import (
	"context"
	"time"

	"github.com/qualgent/qgjob/internal/server"
	"github.com/qualgent/qgjob/internal/store"
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
With --database several servers share one PostgreSQL database: clients and
agents may talk to any of them. Builds, bundles and artifacts must then be in
one place as well: --blobs names a shared folder or a bucket of S3.
With --ha what was acknowledged survives the loss of the database's primary;
nothing is taken without a synchronous standby (docs/high-availability.md).
A server whose PostgreSQL is not there yet listens, is not ready, and waits.
Off loopback it refuses to start without TLS and a token, unless --insecure
says so: whoever reaches it may run programs on its agents.

Everybody is asked for a token when the server has one of its own (--token-file,
QGJOB_SERVER_TOKEN), and from the first "qgjob token create" on. What each kind
of token may do stands in docs/security.md.`,
		Example: `  qgjob server
  qgjob server --listen=0.0.0.0:8443 --tls-cert=cert.pem --tls-key=key.pem --token-file=token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runServer(cmd.Context(), o, verbose) },
	}
	o.add(cmd)
	a.addDatabase(cmd, o)
	f := cmd.Flags()
	f.StringVar(&o.tlsCert, "tls-cert", "", "certificate chain, PEM")
	f.StringVar(&o.tlsKey, "tls-key", "", "its key, PEM")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the server's own token, which may do everything (else QGJOB_SERVER_TOKEN)")
	f.StringVar(&o.blobs, "blobs", "", "where builds, bundles and artifacts are kept: a folder, or s3://BUCKET/PREFIX?endpoint=URL with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (default: in --data-dir)")
	o.telling.add(cmd)
	f.StringVar(&o.oidcConfig, "oidc-config", "", "YAML file with the GitHub repositories whose id-tokens are taken, and for which org (docs/security.md)")
	f.BoolVar(&o.insecure, "insecure", false, "listen off loopback without TLS or token")
	f.DurationVar(&o.historyAfter, "history-after", server.DefaultHistoryAfter, "how long after its end a run moves into history; servers of the version before must be replaced within so long")
	f.DurationVar(&o.keepHistory, "keep-history", 0, "how long after its end a run is deleted with its logs; 0: never")
	f.BoolVar(&o.ha, "ha", false, "acknowledge nothing before a synchronous standby of PostgreSQL has it; take nothing without one")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	cmd.AddCommand(a.migrateCmd(), a.copyCmd())
	return cmd
}

// addDatabase registers --database. A password is better kept off the command
// line, where every user of the machine can read it.
func (a *app) addDatabase(cmd *cobra.Command, o *serverOptions) {
	cmd.Flags().StringVar(&o.database, "database", "", "PostgreSQL instead of SQLite: postgres://USER@HOST:5432/NAME (QGJOB_DATABASE; password also from PGPASSWORD or ~/.pgpass)")
	parse := cmd.PreRun
	cmd.PreRun = func(cmd *cobra.Command, args []string) {
		if parse != nil {
			parse(cmd, args)
		}
		if !cmd.Flags().Changed("database") {
			o.database = a.env["QGJOB_DATABASE"]
		}
	}
}

func (a *app) migrateCmd() *cobra.Command {
	o := &serverOptions{listen: "127.0.0.1:0", leaseTTL: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to this version's schema, and leave",
		Long: `Bring the database to this version's schema, and leave. A server does the
same when it starts; this is for those who want it done before, or by another
user of the database.`,
		Example: "  qgjob server migrate --database=postgres://owner@db.example.com/qgjob",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runMigrate(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.dataDir, "data-dir", "./qgjob-data", "where SQLite's database is, without --database")
	a.addDatabase(cmd, o)
	return cmd
}

func (a *app) runMigrate(ctx context.Context, o *serverOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	database, shown := a.path(o.dataDir), o.dataDir
	if o.database != "" {
		database, shown = o.database, store.RedactDatabase(o.database)
	}
	s, err := store.Open(ctx, database, store.Options{Alone: true})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	a.answer("Database ready: %s", shown)
	return nil
}

func (a *app) runServer(ctx context.Context, o *serverOptions, verbose bool) error {
	log := a.logger(verbose)
	if o.database != "" {
		return a.runShared(ctx, o, log)
	}
	r, err := a.openServer(ctx, o, log)
	if err != nil {
		return err
	}
	r.answer()
	a.listens(r)
	ctx, stop := a.untilStopped(ctx)
	defer stop()
	return r.serve(ctx)
}

// listens says where the server is.
func (a *app) listens(r *running) {
	a.answer("Server listening: %s", r.base)
	if r.options.insecure {
		a.note("--insecure: everybody who reaches %s may run programs on its agents", r.options.listen)
	}
}

// untilStopped gives a context that the first signal ends; the second ends the
// process.
func (a *app) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := a.stops.take()
	ctx, stop := context.WithCancel(ctx)
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
	return ctx, stop
}
