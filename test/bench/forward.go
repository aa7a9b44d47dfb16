package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// forwarder leads from a daemon's network namespace, where nothing else is, to
// the etcd on our loopback.
type forwarder struct {
	listeners []net.Listener
	wg        sync.WaitGroup
}

func newForwarder(ctx context.Context, pid int, from, to []string) (*forwarder, error) {
	f := &forwarder{}
	for i, addr := range from {
		l, err := listenIn(ctx, pid, addr)
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("listen in the daemon's namespace: %w", err)
		}
		f.listeners = append(f.listeners, l)
		f.wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go pass(ctx, conn, to[i])
			}
		})
	}
	return f, nil
}

func (f *forwarder) stop() {
	for _, l := range f.listeners {
		_ = l.Close() // it only stops
	}
	f.wg.Wait()
}

// listenIn listens in the network namespace of a process.
func listenIn(ctx context.Context, pid int, addr string) (l net.Listener, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.Close() }()
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.Close() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", addr)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // this thread would do everything else in the wrong namespace
	}
	return l, err
}

// pass copies both ways until one ends.
func pass(ctx context.Context, from net.Conn, addr string) {
	defer func() { _ = from.Close() }()
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp4", addr)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // it ends with the connection
			done <- struct{}{}
		}()
	}
	<-done
}
