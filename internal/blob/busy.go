package blob

import (
	"sync"

	"github.com/qualgent/qgjob"
)

// busy is the sums that somebody in this process is at work on.
type busy struct {
	mu   sync.Mutex
	sums map[qgjob.Sum]bool
}

// take is false when somebody else has the sum.
func (b *busy) take(sum qgjob.Sum) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sums[sum] {
		return false
	}
	if b.sums == nil {
		b.sums = map[qgjob.Sum]bool{}
	}
	b.sums[sum] = true
	return true
}

func (b *busy) release(sum qgjob.Sum) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sums, sum)
}
