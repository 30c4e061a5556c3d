package appium

import "sync"

// recent keeps the newest bytes written to it. Its methods may be called from
// any goroutine.
type recent struct {
	limit int

	mu   sync.Mutex
	text []byte
}

// Write never fails.
func (r *recent) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, p...)
	if over := len(r.text) - r.limit; over > 0 {
		// Copied only when it has doubled: most writes are short.
		if len(r.text) > 2*r.limit {
			r.text = append([]byte(nil), r.text[over:]...)
		}
	}
	return len(p), nil
}

func (r *recent) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.text[max(0, len(r.text)-r.limit):]...)
}

func (r *recent) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = nil
}
