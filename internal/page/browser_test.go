package page_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/dockstack/dockstack/internal/page"
	"github.com/dockstack/dockstack/internal/page/pagetest"
	"github.com/dockstack/dockstack/test/browser"
)

// site is a page that is served, and can be taken away.
type site struct {
	t      *testing.T
	URL    string
	addr   string
	page   *page.Server
	server *http.Server
	done   chan struct{}
}

func serveSite(t *testing.T, world *pagetest.World) *site {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, addr: l.Addr().String(), URL: "http://" + l.Addr().String() + "/"}
	s.page = page.New(page.Config{Addr: netip.MustParseAddrPort(s.addr), Log: slog.New(slog.DiscardHandler)}, world)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.page.Follow(ctx) })
	s.start(l)
	t.Cleanup(func() {
		s.stop()
		cancel()
		wg.Wait()
	})
	return s
}

func (s *site) start(l net.Listener) {
	s.server = &http.Server{Handler: s.page.Handler(), ReadHeaderTimeout: time.Minute}
	s.done = make(chan struct{})
	go func() { defer close(s.done); _ = s.server.Serve(l) }()
}

func (s *site) stop() {
	_ = s.server.Close()
	<-s.done
}

func (s *site) restart() {
	s.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.start(l)
}

// visitor is a browser with a page open, and everything that it complained of.
type visitor struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	// complaints are console messages and errors, requests what was asked for.
	complaints, requests []string
}

// visit opens an address. Size and colours are set before.
func visit(ctx context.Context, t *testing.T, url string, before ...browser.Step) *visitor {
	t.Helper()
	v := &visitor{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(ev any) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			for _, a := range ev.Args {
				v.complaints = append(v.complaints, fmt.Sprintf("console: %s %s", a.Value, a.Description))
			}
		case *runtime.EventExceptionThrown:
			v.complaints = append(v.complaints, fmt.Sprintf("exception: %+v", *ev.ExceptionDetails))
		case *cdplog.EventEntryAdded:
			v.complaints = append(v.complaints, "log: "+ev.Entry.Text+" "+ev.Entry.URL)
		case *network.EventRequestWillBeSent:
			v.requests = append(v.requests, ev.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	actions := append([]browser.Step{
		browser.Command(network.Enable, network.EnableParams{}), browser.Command(cdplog.Enable, cdp.Empty{}), browser.Command(runtime.Enable, cdp.Empty{}),
	}, before...)
	v.do(append(actions, chromedp.Navigate(url))...)
	v.wait("the stream has told something", `document.querySelector('#live').classList.contains('on')`)
	return v
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

// wait waits until an expression is true.
func (v *visitor) wait(what, expression string) {
	v.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		if eval[bool](v, "!!("+expression+")") {
			return
		}
		if time.Now().After(end) {
			v.t.Fatalf("waited in vain until %s; the page says:\n%s", what, eval[string](v, `document.body.innerText`))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// content fails if the page complained of anything, or asked anybody else.
func (v *visitor) content(origin string) {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.complaints {
		v.t.Errorf("the page complains: %s", c)
	}
	if len(v.requests) == 0 {
		v.t.Error("no request was seen: the test looks at nothing")
	}
	for _, r := range v.requests {
		if !strings.HasPrefix(r, origin) {
			v.t.Errorf("the page asks %s, which is not its own daemon", r)
		}
	}
}

func size(width, height int64, scale float64) browser.Step {
	return browser.Command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: scale, Mobile: width < 500})
}

// colours also keeps the page from scrolling softly: who clicks then misses.
func colours(scheme string) browser.Step {
	return browser.Command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// shotsEnv names a directory where TestShots leaves its pictures.
const shotsEnv = "DOCKSTACK_SHOTS"

func shotsDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(shotsEnv); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	return t.TempDir()
}

// shoot takes a picture of the whole page.
func (v *visitor) shoot(file string) {
	v.t.Helper()
	png, err := chromedp.Run(v.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		v.t.Fatal(err)
	}
	if len(png) < 10_000 {
		v.t.Errorf("%s has only %d bytes: there is hardly anything on it", file, len(png))
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// contained tells by how many pixels the page is wider than its window, and what
// sticks out.
const contained = `(() => {
	const w = document.documentElement.clientWidth, over = document.documentElement.scrollWidth - w;
	if (over <= 0) return '';
	return over + ' px: ' + [...document.querySelectorAll('body *')].filter((e) => (e.getBoundingClientRect().right > w + 1 || e.clientWidth && e.scrollWidth > e.clientWidth + 1) && !e.closest('.scroll, .unseen')).slice(0, 5).map((e) => e.tagName + '.' + e.getAttribute('class') + ' ' + e.textContent.trim().slice(0, 20)).join(', ');
})()`

func (v *visitor) fits(what string) {
	v.t.Helper()
	if over := eval[string](v, contained); over != "" {
		v.t.Errorf("%s is wider than its window by %s", what, over)
	}
}

func (v *visitor) String() string { return fmt.Sprint(v.requests) }
