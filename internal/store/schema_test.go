package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// withoutOrg are the tables and indexes that do not begin with org_id, each
// with why. An index is named by its table and its first column, since the
// engines name the indexes of keys as they like.
var withoutOrg = map[string]string{
	"counters.name":               "one row for the whole database each",
	"moves.copy_id":               "one row a copy of the whole database",
	"goose_db_version.id":         "the migration tool's",
	"reigns.number":               "which primary the whole database was on",
	"turns.slot":                  "flushes are of all orgs",
	"builds.sha256":               "bytes are the same for every org",
	"runs.id":                     "a run is asked for by its number",
	"history_runs.id":             "a run is asked for by its number",
	"jobs.id":                     "a job is asked for by its number",
	"history_jobs.id":             "a job is asked for by its number",
	"job_groups.id":               "a job names its group by number",
	"events.seq":                  "one order for all",
	"history_events.seq":          "one order for all",
	"attempts.lease_id":           "the fence: 128 random bits, and all that an agent shows",
	"history_attempts.lease_id":   "the fence: 128 random bits, and all that an agent shows",
	"log_chunks.lease_id":         "of one fence",
	"history_log_chunks.lease_id": "of one fence",
	"artifacts.lease_id":          "of one fence",
	"history_artifacts.lease_id":  "of one fence",
	"agents.agent_id":             "agents serve every org",
	"tokens.token_id":             "a token names its org, and may be of all",
	"tokens.sum":                  "a token is found by its sum: it says whose it is",
	"tokens.expires_at":           "those of CI runs are swept together; partial",
	"ci_runs.created_at":          "old ones are swept together",
	"id_tokens.jti":               "an id-token is used once, whatever org it is for",
	"jobs.agent_id":               "what an agent holds may be of any org; only leased jobs are in it",
	"orgs.flush":                  "a server that is behind reads what changed of every org; partial",
	"job_groups.flush":            "a server that is behind reads what changed of every org; partial",
	"agents.flush":                "agents serve every org; partial",
	"org_averages.flush":          "a server that is behind reads what changed of every org; partial",
}

// TestOrgLeadsEveryIndex reads the schema as the engine has it.
func TestOrgLeadsEveryIndex(t *testing.T) {
	s := openTest(t, Options{Alone: true})
	query := `SELECT m.name || '.' || i.name FROM sqlite_master m, pragma_index_list(m.name) l, pragma_index_info(l.name) i WHERE m.type = 'table' AND i.seqno = 0
		UNION ALL SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name <> 'sqlite_sequence' AND c.pk = 1`
	if OnPostgres(t) {
		query = `SELECT c.relname || '.' || a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] WHERE n.nspname = 'public'`
	}
	seen := map[string]bool{}
	for _, name := range texts(t, s.read, query) {
		seen[name] = true
		if withoutOrg[name] == "" && !strings.HasSuffix(name, ".org_id") {
			t.Errorf("index of %s does not begin with org_id, and no reason is listed", name)
		}
	}
	for name := range withoutOrg {
		if !seen[name] {
			t.Errorf("%s is listed and does not exist", name)
		}
	}
	if !seen["jobs.org_id"] || !seen["history_jobs.org_id"] {
		t.Errorf("the query sees only %v", slices.Sorted(maps.Keys(seen)))
	}
}

// TestOrgLeadsEveryIndexOnPostgres is the same there.
func TestOrgLeadsEveryIndexOnPostgres(t *testing.T) { TestOrgLeadsEveryIndex(t) }

// TestHistoryHasTheShapeOfLiveTables: a column that only one of them has would
// be lost in the move.
func TestHistoryHasTheShapeOfLiveTables(t *testing.T) {
	s := openTest(t, Options{Alone: true})
	for _, table := range movedTables {
		live, ended := columnsOf(t, s, table.name), columnsOf(t, s, past+table.name)
		if live != ended {
			t.Errorf("%s has\n%s\n%s%s has\n%s", table.name, live, past, table.name, ended)
		}
		listed := strings.Join(slices.Sorted(slices.Values(strings.FieldsFunc(table.columns, func(r rune) bool { return strings.ContainsRune(", \n\t", r) }))), " ")
		if names := namesOf(live); names != listed {
			t.Errorf("%s has the columns\n%s\nand moves\n%s", table.name, names, listed)
		}
	}
}

// TestHistoryHasTheShapeOfLiveTablesOnPostgres is the same there.
func TestHistoryHasTheShapeOfLiveTablesOnPostgres(t *testing.T) {
	TestHistoryHasTheShapeOfLiveTables(t)
}

// columnsOf lists a table's columns with their types, by name.
func columnsOf(t *testing.T, s *Store, table string) string {
	t.Helper()
	query := fmt.Sprintf(`SELECT name || ':' || type || ':' || "notnull" FROM pragma_table_info('%s') ORDER BY name`, table)
	if OnPostgres(t) {
		query = fmt.Sprintf(`SELECT column_name || ':' || data_type || ':' || is_nullable FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '%s' ORDER BY column_name COLLATE "C"`, table)
	}
	return strings.Join(texts(t, s.read, query), " ")
}

func namesOf(columns string) string {
	var names []string
	for f := range strings.FieldsSeq(columns) {
		name, _, _ := strings.Cut(f, ":")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func texts(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	if err := eachRow(rows, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		list = append(list, text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list
}
