package page_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/page"
	"github.com/dockstack/dockstack/internal/page/pagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(addr string, src page.Source, names ...string) *page.Server {
	return page.New(page.Config{
		Addr: netip.MustParseAddrPort(addr), Names: names, Log: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	}, src)
}

func get(s *page.Server, host, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// TestHosts: a page of somebody else whose name was made to lead here reads
// nothing.
func TestNamesThatThePageAnswersTo(t *testing.T) {
	for _, c := range []struct {
		listens, asked string
		code           int
	}{
		{"127.0.0.1:8053", "127.0.0.1:8053", 200},
		{"127.0.0.1:8053", "localhost:9999", 200},
		{"127.0.0.1:8053", "LOCALHOST", 200},
		{"127.0.0.1:8053", "localhost.", 200},
		{"127.0.0.1:8053", "[::1]:8053", 200},
		{"127.0.0.1:8053", "[::1]", 200},
		{"127.0.0.1:8053", "127.9.9.9", 200},
		{"127.0.0.1:8053", "host1:8053", 200},
		{"127.0.0.1:8053", "evil.example:8053", 421},
		{"127.0.0.1:8053", "localhost.evil.example", 421},
		{"127.0.0.1:8053", "127.0.0.1.evil.example", 421},
		{"127.0.0.1:8053", "192.0.2.1:8053", 421},
		{"127.0.0.1:8053", "", 421},
		{"127.0.0.1:8053", "[::ffff:127.0.0.1]:80", 200},
		{"192.0.2.1:8053", "192.0.2.1:8053", 200},
		{"192.0.2.1:8053", "192.0.2.2:8053", 421},
		{"0.0.0.0:8053", "192.0.2.2:8053", 200},
		{"0.0.0.0:8053", "evil.example", 421},
		{"[2001:db8::1]:8053", "[2001:db8::1]:8053", 200},
		{"[fe80::1%eth0]:8053", "[fe80::1]:8053", 200},
	} {
		for _, path := range []string{"/", "/metrics", "/part/names", "/assets/app.js"} {
			w := get(server(c.listens, pagetest.Alone(), "host1"), c.asked, path)
			if w.Code != c.code {
				t.Errorf("%s that listens on %s, asked as %q, answers %d, want %d", path, c.listens, c.asked, w.Code, c.code)
			}
			if c.code == 421 && strings.Contains(w.Body.String(), "shop_default") {
				t.Errorf("%s tells %q of networks", path, c.asked)
			}
		}
	}
}

func TestOnlyReading(t *testing.T) {
	s := server("127.0.0.1:8053", pagetest.Alone())
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
		w := get(s, "localhost", "/", func(r *http.Request) { r.Method = method })
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s answers %d", method, w.Code)
		}
	}
	if w := get(s, "localhost", "/", func(r *http.Request) { r.Method = "HEAD" }); w.Code != 200 {
		t.Errorf("HEAD answers %d", w.Code)
	}
}

func TestHeaders(t *testing.T) {
	s := server("127.0.0.1:8053", pagetest.Alone())
	for _, path := range []string{"/", "/part/names", "/metrics", "/nothing", "/assets/app.js", "/favicon.ico"} {
		h := get(s, "localhost", path).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("%s has %s %q, want %q", path, name, h.Get(name), want)
			}
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s has a lax policy: %s", path, h.Get("Content-Security-Policy"))
		}
	}
	if got := get(s, "localhost", "/").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("the page may be kept: %q", got)
	}
}

func TestOtherSites(t *testing.T) {
	s := server("127.0.0.1:8053", pagetest.Alone())
	from := func(site, mode string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", site); r.Header.Set("Sec-Fetch-Mode", mode) }
	}
	for _, c := range []struct {
		path, site, mode string
		code             int
	}{
		{"/", "cross-site", "navigate", 200},
		{"/", "cross-site", "no-cors", 403},
		{"/part/names", "cross-site", "cors", 403},
		{"/part/names", "same-site", "cors", 403},
		{"/part/names", "same-origin", "cors", 200},
		{"/metrics", "none", "navigate", 200},
		{"/metrics", "cross-site", "navigate", 403},
	} {
		if w := get(s, "localhost", c.path, from(c.site, c.mode)); w.Code != c.code {
			t.Errorf("%s from %s (%s) answers %d, want %d", c.path, c.site, c.mode, w.Code, c.code)
		}
	}
}

func TestStrangeAddresses(t *testing.T) {
	s := server("127.0.0.1:8053", pagetest.OpenStack(3))
	for path, code := range map[string]int{
		"/?from=-5&events=-1&state=dead&sort=x&block=nonsense&pool=none&kind=<b>": 200,
		"/?from=99999999999999999999":              200,
		"/?from=16000000&events=100000&pools=all":  200,
		"/?pool=172.16.0.0/16&block=10.0.0.0/8":    200,
		"/?pool=172.16.0.0/16&block=172.16.3.7/32": 200,
		"/?pool=fd00:16::/64&block=::/0":           200,
		"/?q=" + strings.Repeat("a", 4000):         200,
		"/?q=" + strings.Repeat("a", 5000):         414,
		"/?q=%ff%fe%00":                            200,
		"/part/names?%zz":                          200,
		"/part/secret":                             404, "/part/": 404, "/assets/": 404, "/assets/nothing": 404, "/assets/..%2fpage.go": 404, "/templates/page.html": 404, "/index.html": 404,
	} {
		if w := get(s, "localhost", path); w.Code != code {
			t.Errorf("%.60s answers %d, want %d", path, w.Code, code)
		}
	}
}

// TestStoreThatDoesNotAnswer: the page comes all the same, and soon.
func TestStoreThatDoesNotAnswer(t *testing.T) {
	w := pagetest.OpenStack(3)
	w.Fail(errors.New("no majority; password=hunter2"))
	s := server("127.0.0.1:8053", w)
	body := get(s, "localhost", "/").Body.String()
	for _, want := range []string{"The page is incomplete", "no majority", "Hosts and tunnels"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "hunter2") {
		t.Error("a password is on the page")
	}
	stuck := &stuckSource{World: pagetest.Alone()}
	stuck.Change(func(s *admin.Status, _ *[]admin.Lease) { s.Store.Closed = admin.StoreOpening })
	body = get(server("127.0.0.1:8053", stuck), "localhost", "/").Body.String()
	if stuck.waited.Load() {
		t.Error("with a closed store the page waits for leases")
	}
	if !strings.Contains(body, "The store is not used") {
		t.Error("the page does not say that the store is closed")
	}
}

// stuckSource waits for its store as long as it may.
type stuckSource struct {
	*pagetest.World
	waited atomic.Bool
}

func (s *stuckSource) Leases(ctx context.Context, _ func(admin.Lease) bool) ([]admin.Lease, error) {
	s.waited.Store(true)
	<-ctx.Done()
	return nil, ctx.Err()
}

// holdStream opens a stream until the test ends.
func holdStream(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close(); client.CloseIdleConnections() })
	if answer.StatusCode == 200 {
		if _, err = bufio.NewReader(answer.Body).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return answer.StatusCode
}

func TestStreamsAreLimited(t *testing.T) {
	s := serveSite(t, pagetest.Alone())
	full := 0
	for range 20 {
		if holdStream(t, s.URL) == 503 {
			full++
		}
	}
	if full != 4 {
		t.Errorf("%d of 20 streams were refused, want 4", full)
	}
	answer, err := http.Get(s.URL)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("the page itself is not served any more: %v", err)
	}
	_ = answer.Body.Close()
}

// TestRun: the page is served by itself, listens again where it could not, and
// ends with its streams.
func TestRun(t *testing.T) {
	busy := httptest.NewServer(http.NotFoundHandler())
	addr := strings.TrimPrefix(busy.URL, "http://")
	s := server(addr, pagetest.Alone())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	busy.Close()
	code := 0
	for end := time.Now().Add(time.Minute); code != 200 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if answer, err := http.Get("http://" + addr + "/"); err == nil {
			code = answer.StatusCode
			_ = answer.Body.Close()
		}
	}
	if code != 200 {
		t.Fatalf("the page is not served once its port is free")
	}
	holdStream(t, "http://"+addr+"/")
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("an open stream keeps the daemon from ending")
	}
	http.DefaultClient.CloseIdleConnections()
}

// FuzzHandler: no address, name or header makes the handler fail, or lets
// markup through.
func FuzzHandler(f *testing.F) {
	f.Add("/", "q=web", "localhost", "GET", "<script>")
	f.Add("/part/names", "sort=since&from=3&host=host1", "127.0.0.1:1", "GET", "a\u202eb")
	f.Add("/part/space", "pool=172.16.0.0/16&block=172.16.0.0/24", "[::1]", "HEAD", "\"'`")
	f.Add("/part/events", "kind=live&about=x&events=99", "evil", "POST", "{{.}}")
	f.Add("/assets/app.js", "v=1", "localhost", "GET", "\x00\xff")
	f.Fuzz(func(t *testing.T, path, query, host, method, name string) {
		if strings.HasPrefix(path, "/stream") {
			return
		}
		w := pagetest.Alone()
		w.Change(func(s *admin.Status, leases *[]admin.Lease) {
			(*leases)[0].Name, (*leases)[1].Host, s.Pools[0].Network = name, name, name
			s.Problems = []string{name}
			s.DNS.Zone = name
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.Host, r.URL.Path, r.URL.RawQuery = method, host, path, query
		rec := httptest.NewRecorder()
		server("127.0.0.1:8053", w).Handler().ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("%s %q %q answers %d: %s", method, path, query, rec.Code, rec.Body)
		}
		body := rec.Body.String()
		if rec.Header().Get("Content-Type") == "text/html; charset=utf-8" {
			for _, bad := range []string{"<script>", "<img", "\u202e", " onerror="} {
				if strings.Contains(body, bad) {
					t.Fatalf("%q came through, from %q %q", bad, query, name)
				}
			}
		}
	})
}
