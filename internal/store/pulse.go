package store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/qualgent/qgjob"
)

const (
	channel    = "qgjob"
	pulseItems = 80               // runs, and as many logs, that one notification names: it holds 8,000 bytes
	quietCheck = 20 * time.Second // a line that was quiet so long is asked whether it lives
)

// pulse carries the news of commits from server to server: one notification
// for all that was committed since the last one, sent after the commit and
// over a connection of its own. News may be lost; whoever waits asks now and
// then as well.
type pulse struct {
	config *pgx.ConnConfig
	me     string // tells a server's own notifications from others'
	heard  func(Note)
	log    *slog.Logger
	stop   context.CancelFunc
	loops  sync.WaitGroup
	wake   chan struct{}
	mu     sync.Mutex
	next   news
}

// news is the body of a notification.
type news struct {
	From   string          `json:"from"`
	Runs   []qgjob.RunID   `json:"runs,omitempty"`
	Logs   []qgjob.LeaseID `json:"logs,omitempty"`
	Work   bool            `json:"work,omitempty"`
	Agents bool            `json:"agents,omitempty"`
	Tokens bool            `json:"tokens,omitempty"`
	Many   bool            `json:"many,omitempty"`
}

func startPulse(config *pgx.ConnConfig, heard func(Note), log *slog.Logger) *pulse {
	ctx, stop := context.WithCancel(context.Background())
	p := &pulse{config: config, me: string(newLeaseID()), heard: heard, log: log, stop: stop, wake: make(chan struct{}, 1)}
	p.loops.Go(func() { p.keep(ctx, "listen", p.listen) })
	p.loops.Go(func() { p.keep(ctx, "notify", p.send) })
	return p
}

func (p *pulse) close() {
	p.stop()
	p.loops.Wait()
}

// tell adds what a commit changed to the next notification. It never blocks.
func (p *pulse) tell(n Note) {
	p.mu.Lock()
	p.next.add(n)
	told := !p.next.empty()
	p.mu.Unlock()
	if !told {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// parseNews reads a notification; what cannot be read, of a newer server, may
// mean anything.
func parseNews(payload string) news {
	var n news
	if err := json.Unmarshal([]byte(payload), &n); err != nil {
		return news{Work: true, Agents: true, Tokens: true, Many: true}
	}
	return n
}

func (n *news) empty() bool {
	return len(n.Runs) == 0 && len(n.Logs) == 0 && !n.Work && !n.Agents && !n.Tokens && !n.Many
}

func (n *news) add(c Note) {
	n.Work, n.Agents, n.Tokens = n.Work || c.Work, n.Agents || c.Agents, n.Tokens || c.Tokens
	if n.Many {
		return
	}
	for i := range c.Events {
		if id := c.Events[i].RunID; len(n.Runs) == 0 || n.Runs[len(n.Runs)-1] != id {
			n.Runs = append(n.Runs, id)
		}
	}
	n.Logs = append(n.Logs, c.Logs...)
	if len(n.Runs) > pulseItems || len(n.Logs) > pulseItems {
		n.Runs, n.Logs, n.Many = nil, nil, true
	}
}

// keep has a loop run over a connection, and over a new one when that breaks.
func (p *pulse) keep(ctx context.Context, what string, loop func(context.Context, *pgx.Conn) error) {
	pause := pauseLeast
	for ctx.Err() == nil {
		began := time.Now()
		conn, err := pgx.ConnectConfig(ctx, p.config.Copy())
		if err == nil {
			err = loop(ctx, conn)
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			err = errors.Join(err, conn.Close(leave))
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > pauseMost {
			pause = pauseLeast
		}
		p.log.Warn("news between servers are interrupted", "loop", what, "again_in", pause, "error", err)
		over, cancel := context.WithTimeout(ctx, pause)
		<-over.Done()
		cancel()
		pause = min(2*pause, pauseMost)
	}
}

func (p *pulse) send(ctx context.Context, conn *pgx.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		p.mu.Lock()
		n := p.next
		p.next = news{}
		p.mu.Unlock()
		n.From = p.me
		body, err := json.Marshal(n)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, string(body)); err != nil {
			p.tellAll()
			return err
		}
	}
}

// tellAll has the next notification say that anything may have changed.
func (p *pulse) tellAll() {
	p.mu.Lock()
	p.next = news{Work: true, Agents: true, Tokens: true, Many: true}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pulse) listen(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return err
	}
	p.heard(Note{Work: true, Agents: true, Tokens: true, Many: true}) // what was told before
	for {
		quiet, cancel := context.WithTimeout(ctx, quietCheck)
		got, err := conn.WaitForNotification(quiet)
		timeout := quiet.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case timeout:
			alive, cancel := context.WithTimeout(ctx, connectWithin)
			err := conn.Ping(alive)
			cancel()
			if err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if n := parseNews(got.Payload); n.From != p.me {
			p.heard(Note{Runs: n.Runs, Logs: n.Logs, Work: n.Work, Agents: n.Agents, Tokens: n.Tokens, Many: n.Many})
		}
	}
}
