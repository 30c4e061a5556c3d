package cli

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/qualgent/qgjob/internal/store"
	"github.com/spf13/cobra"
)

// copyOptions are the two ends of a copy, as people write them.
type copyOptions struct{ from, to string }

func (a *app) copyCmd() *cobra.Command {
	o := copyOptions{}
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Move a farm from SQLite up to PostgreSQL",
		Long: `Move a farm from SQLite up to PostgreSQL: all jobs, leases, numbers, keys,
builds, logs and history, in one transaction that is compared table by table.

Stop the server first; agents go on, and keep what they have to tell. Then copy,
and start the server again on the same address and the same --data-dir (it
keeps the files) with --database. The SQLite database stays as it is and is not
served any more. A copy that was cut off is run again: it finishes what is
there, or starts over.

There is no way back from PostgreSQL: several servers may write to it.`,
		Example: `  qgjob server copy --from=sqlite:./qgjob-data --to=postgres://qgjob@db.example.com/qgjob`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runCopy(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "sqlite: and the --data-dir of the server that was stopped")
	f.StringVar(&o.to, "to", "", "an empty PostgreSQL database: postgres://USER@HOST:5432/NAME (password also from PGPASSWORD or ~/.pgpass)")
	return cmd
}

// folder checks both ends and gives the data directory.
func (o copyOptions) folder() (dir string, err error) {
	switch {
	case store.IsPostgres(o.from):
		return "", usage("from", "copies go from SQLite to PostgreSQL only: several servers may write to PostgreSQL meanwhile")
	case o.from == "" || o.from == "sqlite:":
		return "", usage("from", "name the data directory that shall move, such as sqlite:./qgjob-data")
	case !store.IsPostgres(o.to):
		return "", usage("to", "must be a URL of PostgreSQL such as postgres://USER@HOST:5432/NAME")
	}
	dir = strings.TrimPrefix(o.from, "sqlite:")
	if filepath.Base(dir) == "qgjob.db" {
		dir = filepath.Dir(dir)
	}
	return dir, nil
}

func (a *app) runCopy(ctx context.Context, o copyOptions) error {
	dir, err := o.folder()
	if err != nil {
		return err
	}
	began := time.Now()
	done, err := store.Copy(ctx, a.path(dir), o.to, func(s store.CopyStep) {
		switch {
		case s.Verified && s.Total > 0:
			a.note("%s: %d rows, all compared", s.Table, s.Total)
		case !s.Verified:
			a.note("%s: %d of %d rows", s.Table, s.Done, s.Total)
		}
	})
	if err != nil {
		return err
	}
	if done.Cleaned > 0 {
		a.note("%d texts held characters that PostgreSQL does not keep (NUL, broken UTF-8); they are replaced by U+FFFD", done.Cleaned)
	}
	if done.Resumed {
		a.answer("Moved: %s to %s (by an earlier copy)", o.from, store.RedactDatabase(o.to))
	} else {
		a.answer("Moved: %s to %s: %d runs, %d jobs, %d rows in %s", o.from, store.RedactDatabase(o.to), done.Runs, done.Jobs, done.Rows, time.Since(began).Round(time.Millisecond))
	}
	a.note("start the server with --database, and --data-dir=%s for its files", dir)
	return nil
}
