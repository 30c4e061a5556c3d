package sim

// kind is what happens. At one instant, kinds happen in this order: a test
// that ends when its agent goes away has ended.
type kind uint8

const (
	finished kind = iota
	wentDown
	cameUp
	arrived
)

type event struct {
	at     float64
	kind   kind
	seq    int // order among equals: order of creation
	number int // job, or agent
}

// events is a heap, earliest on top.
type events struct {
	list []event
	made int
}

func (e *events) Len() int      { return len(e.list) }
func (e *events) Swap(i, k int) { e.list[i], e.list[k] = e.list[k], e.list[i] }
func (e *events) Push(x any)    { e.list = append(e.list, x.(event)) }

func (e *events) Less(i, k int) bool {
	a, b := e.list[i], e.list[k]
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.kind != b.kind:
		return a.kind < b.kind
	}
	return a.seq < b.seq
}

func (e *events) Pop() any {
	last := e.list[len(e.list)-1]
	e.list = e.list[:len(e.list)-1]
	return last
}
