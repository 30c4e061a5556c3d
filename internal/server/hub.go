package server

import (
	"sync"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/store"
)

// Hub carries the news of each commit to whoever waits for it: streams of
// runs and logs, and agents whose claim found no work. It remembers nothing
// that is not in the store: whoever is woken reads there.
type Hub struct {
	mu        sync.Mutex
	observers []func(store.Note)
	runs      map[qgjob.RunID]map[*bell]struct{}
	logs      map[qgjob.LeaseID]map[*bell]struct{}
	claims    claims
}

// bell wakes one subscriber; rings that it has not heard yet are one.
type bell struct{ wake chan struct{} }

func newBell() *bell { return &bell{wake: make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// NewHub makes a Hub. Its Notify goes into the store's options.
func NewHub() *Hub {
	return &Hub{runs: map[qgjob.RunID]map[*bell]struct{}{}, logs: map[qgjob.LeaseID]map[*bell]struct{}{}, claims: claims{work: newBell()}}
}

// Observe has every note shown to watch, on the writer's goroutine: it must
// not block, nor call the Hub.
func (h *Hub) Observe(watch func(store.Note)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observers = append(h.observers, watch)
}

// Notify tells what a commit changed. It never blocks.
func (h *Hub) Notify(n store.Note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, watch := range h.observers {
		watch(n)
	}
	for i := range n.Events {
		ringAll(h.runs[n.Events[i].RunID])
	}
	for _, id := range n.Runs {
		ringAll(h.runs[id])
	}
	if n.Many {
		for _, bells := range h.runs {
			ringAll(bells)
		}
		for _, bells := range h.logs {
			ringAll(bells)
		}
	}
	for _, id := range n.Logs {
		ringAll(h.logs[id])
	}
	if n.Work {
		h.claims.news()
	}
}

func ringAll(bells map[*bell]struct{}) {
	for b := range bells {
		b.ring()
	}
}

// SubscribeRun gives a channel that is rung after events of a run were
// written. Cancel ends the subscription and must be called.
func (h *Hub) SubscribeRun(id qgjob.RunID) (wake <-chan struct{}, cancel func()) {
	return subscribe(&h.mu, h.runs, id)
}

// SubscribeLog gives a channel that is rung after an attempt's log grew.
// Cancel ends the subscription and must be called.
func (h *Hub) SubscribeLog(id qgjob.LeaseID) (wake <-chan struct{}, cancel func()) {
	return subscribe(&h.mu, h.logs, id)
}

func subscribe[K comparable](mu *sync.Mutex, all map[K]map[*bell]struct{}, id K) (<-chan struct{}, func()) {
	b := newBell()
	mu.Lock()
	defer mu.Unlock()
	if all[id] == nil {
		all[id] = map[*bell]struct{}{}
	}
	all[id][b] = struct{}{}
	return b.wake, func() {
		mu.Lock()
		defer mu.Unlock()
		delete(all[id], b)
		if len(all[id]) == 0 {
			delete(all, id)
		}
	}
}
