package admin_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

// counting counts what is taken of an endless text.
type counting struct {
	head, unit string
	n          atomic.Int64
	most       int64
}

func (c *counting) Read(p []byte) (int, error) {
	if c.n.Load() >= c.most {
		return 0, io.EOF
	}
	if c.head != "" {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n := copy(p, strings.Repeat(c.unit, max(1, len(p)/len(c.unit))))
	c.n.Add(int64(n))
	return n, nil
}

// However much comes, what is kept of it is bounded, in bytes and in entries.
func TestFilesAreBounded(t *testing.T) {
	_, path := serve(t, admintest.New())
	web := overUnix(t, path)
	for _, tt := range []struct {
		call, head, unit, want string
	}{
		{"/v1/import", `{"reservations":[{}`, ",{}", "more than 200000 names"},
		{"/v1/import", `{"records":[{}`, ",{}", "more than 200000 DNS records"},
		{"/v1/import", `{"subnets":["10.0.0.0/8"`, `,"10.0.0.0/8"`, "more than 1000 subnets"},
		{"/v1/import", `{"reservations":[{"name":"`, "x", "larger than 32 MB"},
		{"/v1/restore", `{"dockstack_backup":1}` + "\n", `{"key":"a","text":"` + strings.Repeat("x", 1000) + "\"}\n", "larger than 64 MB"},
	} {
		body := &counting{head: tt.head, unit: tt.unit, most: 200 << 20}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x"+tt.call, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(text), tt.want) {
			t.Errorf("%s %s: %d %s", tt.call, tt.want, resp.StatusCode, text)
		}
		if n := body.n.Load(); n > 80<<20 {
			t.Errorf("%s: %d MB were read", tt.want, n>>20)
		}
	}
	// A size that is said is judged before anything comes.
	conn := dial(t, path)
	_, _ = fmt.Fprintf(conn, "POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", admin.MaxImport+1)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 400" {
		t.Errorf("a file that is said to be too large: %q, %v", answer, err)
	}
}

// A file that comes slowly holds up other files, and nothing else.
func TestSlowFileHoldsUpNoCall(t *testing.T) {
	d := admintest.New()
	c, path := serve(t, d)
	for range 40 {
		conn := dial(t, path)
		_, _ = io.WriteString(conn, "POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Import(ctx, admin.Import{Reservations: []admin.Reservation{{Name: "db", Address: netip.MustParseAddr("172.16.0.60")}}})
	if err == nil || ctx.Err() == nil {
		t.Errorf("an import that has to wait: %v", err)
	}
	if _, err := c.Leases(t.Context(), admin.Filter{}); err != nil {
		t.Errorf("ls: %v", err)
	}
	if _, err := c.Reserve(t.Context(), admin.Reserving{Reservation: admin.Reservation{Name: "web", Address: netip.MustParseAddr("172.16.0.50")}}); err != nil {
		t.Errorf("reserve: %v", err)
	}
}

// A whole import is read as it was, and what is none is refused.
func TestImportIsRead(t *testing.T) {
	s := admin.NewServer(admintest.New(), "1.0", slog.New(slog.DiscardHandler))
	for body, want := range map[string]string{
		`{"reservations":null,"dry_run":true}`:      "",
		` {"subnets":["10.0.0.0/8"],"records":[]} `: "",
		``:                                      "no body",
		`[]`:                                    "an import is an object",
		`null`:                                  "an import is an object",
		`{"reservations":{}}`:                   "no list",
		`{"reservations":[{"nam":"a"}]}`:        "unknown field",
		`{"reservation":[]}`:                    "unknown field",
		`{"reservations":[],"reservations":[]}`: "twice",
		`{"reservations":[]`:                    "can't be read",
		`{"reservations":[]} {}`:                "goes on after its end",
		`{"reservations":[{"name":"a","address":"1.2.3"}]`: "can't be read",
	} {
		status, e := raw(t, s, "POST", "/v1/import", body)
		if want == "" && status != 200 || want != "" && (status != 400 || !strings.Contains(e.Text, want)) {
			t.Errorf("%s: %d %+v, want %q", body, status, e, want)
		}
	}
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func overUnix(t *testing.T, path string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
