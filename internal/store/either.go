package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
)

// past stands before the names of the tables that runs move into some time
// after their end (archive.go). They have the shape of the live ones.
const past = "history_"

// either is one query over what is live and what is history: @ stands before
// the name of each table. A row is in one of the two, never in both, so a
// statement sees it once even while its run moves; that is why every read of
// what may have ended is one statement. An ORDER BY may follow.
func either(query string) string {
	return strings.ReplaceAll(query, "@", "") + " UNION ALL " + strings.ReplaceAll(query, "@", past)
}

// eitherPage is either for a query with an ORDER BY and a LIMIT, which both
// sides keep as well: each then reads no more than a page by its index.
func eitherPage(query, order string) string {
	return either(`SELECT * FROM (`+query+order+`) p`) + order
}

// orgOfRun is the org of the run that parameter n names: the indexes begin
// with it.
func orgOfRun(n int) string {
	return fmt.Sprintf(`COALESCE((SELECT org_id FROM runs WHERE id = $%[1]d), (SELECT org_id FROM history_runs WHERE id = $%[1]d))`, n)
}

// orgsOf lists the orgs that have rows in a table whose index begins with
// org_id, by leaping from one to the next: it never walks the table.
func (s *Store) orgsOf(ctx context.Context, table string) ([]qgjob.OrgID, error) {
	rows, err := s.read.QueryContext(ctx, strings.ReplaceAll(`WITH RECURSIVE o(org_id) AS (SELECT MIN(org_id) FROM @ UNION ALL
		SELECT (SELECT MIN(x.org_id) FROM @ x WHERE x.org_id > o.org_id) FROM o WHERE o.org_id IS NOT NULL)
		SELECT org_id FROM o WHERE org_id IS NOT NULL`, "@", table))
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the orgs of %s: %w", table, err))
	}
	var orgs []qgjob.OrgID
	err = eachRow(rows, func(rows *sql.Rows) error {
		var id qgjob.OrgID
		err := rows.Scan(&id)
		orgs = append(orgs, id)
		return err
	})
	return orgs, unavailable(err)
}
