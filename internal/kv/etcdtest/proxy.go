package etcdtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between clients and one member.
type proxy struct {
	addr   string
	target string
	l      net.Listener
	wg     sync.WaitGroup
	ctx    context.Context
	end    context.CancelFunc

	mu      sync.Mutex
	isCut   bool
	latency time.Duration
	// mended is closed when the cut ends.
	mended chan struct{}
	conns  map[net.Conn]struct{}
}

func newProxy(tb testing.TB, port int) *proxy {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: fmt.Sprintf("127.0.0.1:%d", port), l: l, conns: map[net.Conn]struct{}{}, mended: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p
}

func (p *proxy) accept() {
	for {
		conn, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(from net.Conn) {
	defer p.forget(from)
	p.remember(from)
	if !p.pass(p.ctx, 0) {
		return
	}
	to, err := (&net.Dialer{}).DialContext(p.ctx, "tcp4", p.target)
	if err != nil {
		return
	}
	defer p.forget(to)
	p.remember(to)
	var both sync.WaitGroup
	both.Go(func() { p.pump(to, from) })
	both.Go(func() { p.pump(from, to) })
	both.Wait()
}

type piece struct {
	at   time.Time
	data []byte
}

// pump copies, each piece after the delay, and ends both when one ended.
func (p *proxy) pump(to, from net.Conn) {
	pieces := make(chan piece, 1024)
	ctx, cancel := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for piece := range pieces {
			if !p.pass(ctx, time.Until(piece.at)) {
				break
			}
			if _, err := to.Write(piece.data); err != nil {
				break
			}
		}
		_ = to.Close()
		_ = from.Close()
		for range pieces {
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{at: time.Now().Add(p.lag()), data: append([]byte(nil), buf[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	wg.Wait()
	cancel()
}

// pass waits for wait, and for the end of a cut, after which nothing passes.
func (p *proxy) pass(ctx context.Context, wait time.Duration) bool {
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
	}
	p.mu.Lock()
	cut, mended := p.isCut, p.mended
	p.mu.Unlock()
	if !cut {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
	case <-mended:
	}
	return false
}

func (p *proxy) lag() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latency
}

func (p *proxy) delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

func (p *proxy) cut(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut && !on {
		close(p.mended)
		p.mended = make(chan struct{})
		for c := range p.conns {
			_ = c.Close()
		}
	}
	p.isCut = on
}

func (p *proxy) remember(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	if p.ctx.Err() != nil {
		_ = c.Close()
	}
}

func (p *proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) close() {
	p.end()
	_ = p.l.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
