package stack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/test/browser"
	"github.com/dockstack/dockstack/test/lab"
)

// shotsEnv names a directory where pictures of pages stay, for people to look at.
const shotsEnv = "DOCKSTACK_SHOTS"

// forward gives an address on this machine that leads to a port of the lab host's own loopback, where published ports are.
func forward(t *testing.T, h *lab.Host, port string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := dialIn(h.Path("/proc/1/ns/net"), "127.0.0.1:"+port)
			if err != nil {
				t.Logf("port %s of %s: %v", port, h.Name, err)
				_ = in.Close()
				continue
			}
			wg.Go(func() { join(in, out) })
		}
	})
	return l.Addr().String()
}

// join carries bytes both ways until one side ends.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	wg.Wait()
}

// dialIn connects from within a network namespace.
func dialIn(path, addr string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is not given back, so it ends with the goroutine.
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open(path); err != nil {
			return
		}
		defer func() { _ = ns.Close() }()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout("tcp", addr, 5*time.Second)
		}
	}()
	<-done
	return conn, err
}

// visitor is a browser, and what went wrong with what it asked for.
type visitor struct {
	t     *testing.T
	ctx   context.Context
	mu    sync.Mutex
	asked []string
	wrong []string
}

// browse starts a headless Chromium that ends with the test.
func browse(t *testing.T) *visitor {
	t.Helper()
	ctx := browser.Start(t)
	v := &visitor{t: t, ctx: ctx}
	v.do(browser.Command(network.Enable, network.EnableParams{}),
		browser.Command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1360, Height: 900, DeviceScaleFactor: 1}))
	if err := chromedp.Listen(ctx, v.hear); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *visitor) hear(ev any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		v.asked = append(v.asked, ev.Request.URL)
	case *network.EventResponseReceived:
		if ev.Response.Status >= 400 {
			v.wrong = append(v.wrong, ev.Response.StatusText+" "+ev.Response.URL)
		}
	}
}

func (v *visitor) do(steps ...browser.Step) {
	v.t.Helper()
	browser.Do(v.ctx, v.t, steps...)
}

// eval is an expression's value.
func eval[T any](v *visitor, expression string) T {
	v.t.Helper()
	return browser.Eval[T](v.ctx, v.t, expression)
}

// wait waits until an expression is true. While a page gives way to the next, none has a value.
func (v *visitor) wait(what, expression string) {
	v.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		is, err := chromedp.Run(v.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && is {
			return
		}
		if time.Now().After(end) {
			v.t.Fatalf("waited in vain until %s (%v); the page says:\n%s", what, err, eval[string](v, `location.href + "\n" + document.body.innerText`))
		}
	}
}

// shoot takes a picture of the page.
func (v *visitor) shoot(name string) {
	v.t.Helper()
	dir := os.Getenv(shotsEnv)
	if dir == "" {
		dir = v.t.TempDir()
	}
	png, err := chromedp.Run(v.ctx, chromedp.FullScreenshot(100))
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		v.t.Fatal(err)
	}
	if len(png) < 10_000 {
		v.t.Errorf("the picture %s has only %d bytes: there is hardly anything on it", name, len(png))
	}
}

// content fails if anything that pages asked for was not there, or was asked of others than origin.
func (v *visitor) content(origin string) {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.asked) == 0 {
		v.t.Error("no request was seen: the test looks at nothing")
	}
	for _, u := range slices.Compact(slices.Sorted(slices.Values(v.asked))) {
		if at, err := url.Parse(u); err != nil || (at.Scheme != "data" && !strings.HasPrefix(u, origin)) {
			v.t.Errorf("the page asks %s, which is not its own server", u)
		}
	}
	for _, w := range v.wrong {
		v.t.Errorf("not there: %s", w)
	}
}
