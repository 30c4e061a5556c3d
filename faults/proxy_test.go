//go:build unix

package faults_test

import (
	"net"
	"sync"
	"time"
)

// trouble is what a proxy does to the bytes that pass through it.
type trouble int

const (
	pass    trouble = iota
	drop            // connections are reset, new ones too
	hold            // nothing arrives on either side until it heals: a network that lost its way
	deaf            // requests arrive, answers do not until it heals
	half            // one side is reset, the other is left open until it heals
	slow150         // every chunk takes 150 ms
	cut             // connections end in the middle of what they carry
)

var troubles = map[trouble]string{drop: "drop", hold: "hold", deaf: "deaf", half: "half-open", slow150: "delay", cut: "cut mid-body"}

// proxy is a line between two programs, to be broken at will.
type proxy struct {
	target string // host:port
	l      net.Listener
	mu     sync.Mutex
	mode   trouble
	left   int           // cut: bytes until then
	healed chan struct{} // closed when the trouble ends
	links  map[*link]bool
	all    sync.WaitGroup
}

// link is one connection through a proxy.
type link struct {
	client, server *net.TCPConn
	once           sync.Once
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, l: l, links: map[*link]bool{}, healed: make(chan struct{})}
	close(p.healed)
	p.all.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) close() {
	_ = p.l.Close()
	p.set(drop, 0)
	p.set(pass, 0)
	p.all.Wait()
}

// set begins or, with pass, ends a trouble. Connections in which one side was
// left alone end then, as they do when their bytes find nobody.
func (p *proxy) set(m trouble, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.mode
	p.mode, p.left = m, left
	if m != pass && was == pass {
		p.healed = make(chan struct{})
	}
	for l := range p.links {
		switch {
		case m == drop, was == half && m == pass:
			l.reset()
		case m == half:
			resetOne(l.client)
		}
	}
	if m == pass && was != pass {
		close(p.healed)
	}
}

func (p *proxy) now() (trouble, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.healed
}

// take tells how many of n bytes may pass before a cut.
func (p *proxy) take(n int) (pass int, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode != cut {
		return n, false
	}
	if p.left < n {
		n, p.left = max(0, p.left), 2_000 // the next connection gets a little further
		return n, true
	}
	p.left -= n
	return n, false
}

func resetOne(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (l *link) reset() {
	l.once.Do(func() { resetOne(l.client); resetOne(l.server) })
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		if mode, _ := p.now(); mode == drop {
			resetOne(client)
			continue
		}
		p.all.Go(func() { p.carry(client) })
	}
}

func (p *proxy) carry(client *net.TCPConn) {
	if mode, healed := p.now(); mode == hold || mode == half {
		<-healed
	}
	up, err := net.DialTimeout("tcp", p.target, 5*time.Second) //nolint:noctx // loopback
	if err != nil {
		resetOne(client)
		return
	}
	l := &link{client: client, server: up.(*net.TCPConn)}
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() { p.pump(l, l.client, l.server, deaf) })
	p.pump(l, l.server, l.client, hold)
	back.Wait()
	l.once.Do(func() { _ = l.client.Close(); _ = l.server.Close() })
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump passes bytes on in one direction. mute is the trouble that stops this
// direction besides hold.
func (p *proxy) pump(l *link, to, from *net.TCPConn, mute trouble) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			if mode, healed := p.now(); mode == half {
				<-healed // nobody tells the other side
				l.reset()
			}
			_ = to.CloseWrite()
			return
		}
		for mode, healed := p.now(); mode == hold || mode == mute || mode == half; mode, healed = p.now() {
			<-healed
		}
		if mode, _ := p.now(); mode == slow150 {
			wait(150 * time.Millisecond)
		}
		n, end := p.take(n)
		if _, err := to.Write(buf[:n]); err != nil || end {
			if end {
				l.reset()
			}
			return
		}
	}
}
