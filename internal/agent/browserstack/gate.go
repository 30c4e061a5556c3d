package browserstack

import (
	"context"
	"sync"
	"time"
)

const (
	// planAge is how old an answer about the plan may be when an agent only
	// wants to know whether to ask for work.
	planAge = 5 * time.Second
	// settle is when a session that tells nothing of itself is taken to show
	// among the running ones.
	settle = time.Minute
)

// Gate lets no more sessions begin than the plan has room for. The agents of a
// process share one. What other processes of the account run is seen in the
// plan's own figures.
//
// A pass goes three steps: Enter (there is room to ask for work), Commit (a
// session may begin now), Leave.
type Gate struct {
	ask func(context.Context) (Plan, error)

	mu     sync.Mutex // also keeps questions apart: one answer serves all that wait for it
	plan   Plan
	asked  time.Time // zero: never
	passes map[*Pass]bool
}

// NewGate takes the plan from ask, which is (*Client).Plan but in tests.
func NewGate(ask func(context.Context) (Plan, error)) *Gate {
	return &Gate{ask: ask, passes: map[*Pass]bool{}}
}

// Pass is one agent's way through the gate.
type Pass struct {
	gate      *Gate
	committed time.Time // zero: it only asks for work
	journal   *Journal
	seen      bool // its session is among the plan's running ones
}

// Look gives the plan, not older than age.
func (g *Gate) Look(ctx context.Context, age time.Duration) (Plan, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.look(ctx, age)
	return g.plan, err
}

// look asks for the plan and notes which sessions of our own it counts: those
// that were open before the question and after the answer.
func (g *Gate) look(ctx context.Context, age time.Duration) error {
	if !g.asked.IsZero() && time.Since(g.asked) < age {
		return nil
	}
	open := map[*Pass]bool{}
	for p := range g.passes {
		open[p] = p.open()
	}
	asked := time.Now()
	plan, err := g.ask(ctx)
	if err != nil {
		return err
	}
	g.plan, g.asked = plan, asked
	for p := range g.passes {
		p.seen = open[p] && p.open()
	}
	return nil
}

// open reports whether a session of the pass runs, by its journal; without one,
// whether it had time to begin.
func (p *Pass) open() bool {
	if p.committed.IsZero() {
		return false
	}
	if p.journal != nil {
		if running, told := p.journal.Running(); told {
			return running > 0
		}
	}
	return time.Since(p.committed) >= settle
}

// promised counts passes whose session the plan does not show; with asking,
// also those that only ask for work.
func (g *Gate) promised(asking bool) int {
	n := 0
	for p := range g.passes {
		if !p.seen && (asking || !p.committed.IsZero()) {
			n++
		}
	}
	return n
}

// Enter gives a pass to ask for work with, or a *FullError.
func (g *Gate) Enter(ctx context.Context) (*Pass, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.look(ctx, planAge); err != nil {
		return nil, err
	}
	if n := g.promised(true); g.plan.Free(n) < 1 {
		return nil, &FullError{g.plan, n}
	}
	p := &Pass{gate: g}
	g.passes[p] = true
	return p, nil
}

// Commit lets a session begin, or gives a *FullError: others may have taken the
// room since. It asks BrowserStack anew.
func (p *Pass) Commit(ctx context.Context) error {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.look(ctx, 0); err != nil {
		return err
	}
	if n := g.promised(false); g.plan.Free(n) < 1 {
		return &FullError{g.plan, n}
	}
	p.committed, p.seen, p.journal = time.Now(), false, nil
	return nil
}

// Follow has the pass read in a journal when its sessions begin and end.
func (p *Pass) Follow(j *Journal) {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.journal = j
}

// Leave gives the room back. Leaving twice, or on nil, does nothing.
func (p *Pass) Leave() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	delete(p.gate.passes, p)
}
