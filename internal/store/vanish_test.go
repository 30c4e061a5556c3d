package store

import (
	"context"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

// TestAServerThatVanishesInAFlushSlow_postgres takes a server's network away
// in the middle of a flush: no end of its connection reaches PostgreSQL, which
// keeps the transaction open, and with it the lock that every other server
// waits for. Their calls must only be late: none is refused.
func TestAServerThatVanishesInAFlushSlow_postgres(t *testing.T) {
	slow(t)
	ctx := context.Background()
	url := FreshPostgres(t)
	c := startCutter(t, url)
	gone := ok[*Store](t)(Open(ctx, c.url, Options{Alone: true}))
	defer func() { _ = gone.Close() }()
	stays := ok[*Store](t)(Open(ctx, url, Options{Alone: true}))
	defer func() { _ = stays.Close() }()
	ok[qgjob.SubmitResponse](t)(gone.Submit(ctx, "", oneJob("acme", 5)))
	gone.writer.patience = time.Second
	inside, done := make(chan struct{}), make(chan error, 1)
	tries := 0
	go func() {
		done <- gone.update(ctx, func(tx *tx) error {
			if tries++; tries == 1 {
				if err := putOrg("early")(tx); err != nil {
					return err
				}
				c.silent.Store(true)
				close(inside)
			}
			return putOrg("vanished")(tx)
		})
	}()
	<-inside
	began := time.Now()
	resp, err := stays.Submit(ctx, "", oneJob("acme", 5))
	t.Logf("another server's submit took %v", time.Since(began).Round(time.Millisecond))
	if err != nil || resp.RunID != 2 {
		t.Errorf("%+v, %v", resp, err)
	}
	if hasOrg(t, stays, "early") {
		t.Error("half of a flush is there")
	}
	c.silent.Store(false) // it is back; what it had under way was undone, and is done anew
	if err := <-done; err != nil || tries != 2 || !hasOrg(t, stays, "vanished") {
		t.Errorf("after %d tries: %v", tries, err)
	}
	auditAll(t, []*Store{gone, stays})
}

// TestVanishedClientsAreNoticedByPostgres: what PostgreSQL does about a client
// that is gone is set on every connection, whatever its configuration says.
func TestVanishedClientsAreNoticedByPostgres(t *testing.T) {
	s := replicas(t, 1, Options{Alone: true})[0]
	for setting, want := range map[string]string{
		"idle_in_transaction_session_timeout": "5s", "tcp_user_timeout": "10000",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	} {
		var got string
		if err := s.update(context.Background(), func(t *tx) error {
			_, err := t.queryRow(`SELECT current_setting('`+setting+`')`, nil, &got)
			return err
		}); err != nil || got != want {
			t.Errorf("of the writer, %s is %q, want %q (%v)", setting, got, want, err)
		}
	}
	for setting, want := range map[string]string{"idle_in_transaction_session_timeout": "30s", "tcp_user_timeout": "0", "tcp_keepalives_idle": "5"} {
		var got string
		if err := s.read.QueryRow(`SELECT current_setting('` + setting + `')`).Scan(&got); err != nil || got != want {
			t.Errorf("of a reader, %s is %q, want %q (%v)", setting, got, want, err)
		}
	}
}
