package testenv

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Cut says what a [Proxy] does with a connection when a reply passes.
type Cut int

// The cuts.
const (
	Pass      Cut = iota // forward the reply
	CutBefore            // cut the connection; the client never gets the reply
	CutAfter             // forward the reply, then cut
)

// Proxy is a TCP proxy in front of a server on loopback, which can do what
// networks do: delay, freeze, cut. Every method is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	thawed  *sync.Cond
	frozen  bool
	refuses bool
	closed  bool
	delay   time.Duration
	onReply func(reply []byte) Cut
	conns   map[net.Conn]struct{}
	running sync.WaitGroup
}

// StartProxy starts a proxy in front of target ("127.0.0.1:5432"), which ends
// with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	p.thawed = sync.NewCond(&p.mu)
	p.running.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// OnReply has every piece of data from the server looked at before it is
// forwarded; nil ends that. A piece is what one read gave: a whole answer, part
// of one, or several. f is called from several goroutines.
func (p *Proxy) OnReply(f func(reply []byte) Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onReply = f
}

// Delay holds up every piece of data, in both directions, by d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Freeze forwards nothing any more and keeps all connections open, as a
// network does that drops packets.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw ends Freeze; what was held up is forwarded.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.thawed.Broadcast()
}

// Refuse closes each new connection at once, or no longer.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = yes
}

// CutAll closes all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // both ends notice
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.frozen = false
	p.thawed.Broadcast()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.CutAll()
	p.running.Wait()
}

func (p *Proxy) accept() {
	defer p.running.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses := p.refuses
		p.mu.Unlock()
		if refuses {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil { // the server is away: so are we
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			continue
		}
		p.running.Add(2)
		go p.forward(client, server, false)
		go p.forward(server, client, true)
	}
}

// keep notes the connections, or closes them if the proxy is closed.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

// forward copies from one connection to the other until either ends.
func (p *Proxy) forward(from, to net.Conn, reply bool) {
	defer p.running.Done()
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			cut := p.pass(buf[:n], reply)
			if cut == CutBefore {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil || cut == CutAfter {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as data has to, and decides about it.
func (p *Proxy) pass(data []byte, reply bool) Cut {
	p.mu.Lock()
	for p.frozen {
		p.thawed.Wait()
	}
	delay, onReply := p.delay, p.onReply
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	if reply && onReply != nil {
		return onReply(data)
	}
	return Pass
}
