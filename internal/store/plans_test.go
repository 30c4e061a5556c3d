package store

import (
	"context"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestTheFrontOfAQueueIsReadInItsOrderOnPostgres: a plan that was made when
// nothing waited must not read all that waits later, and sort it, for the
// first jobs. (Each flush of three servers did so: 15 ms for 13,000 jobs.)
func TestTheFrontOfAQueueIsReadInItsOrderOnPostgres(t *testing.T) {
	ctx := context.Background()
	s := replicas(t, 1, Options{Alone: true})[0]
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", oneJob("acme", 5)))
	if err := s.update(ctx, func(t *tx) error { return t.write("analyze", `ANALYZE jobs`) }); err != nil {
		t.Fatal(err)
	}
	req := oneJob("acme", 5)
	for len(req.Jobs) < 2000 {
		req.Jobs = append(req.Jobs, req.Jobs[0])
	}
	ok[qgjob.SubmitResponse](t)(s.Submit(ctx, "", req))
	var plan []string
	if err := s.update(ctx, func(t *tx) error {
		plan = nil
		return t.each(`EXPLAIN SELECT `+jobColumns+waitingOf+`$3`, []any{"acme", int64(1), 16}, func(row scanner) error {
			var line string
			err := row.Scan(&line)
			plan = append(plan, line)
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); strings.Contains(text, "Sort") || !strings.Contains(text, "jobs_next ") {
		t.Errorf("the writer's plan:\n%s", text)
	}
}
