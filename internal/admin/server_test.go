package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve has a daemon listen on a real socket and returns a client of it.
func serve(t *testing.T, d *admintest.Daemon) (*admin.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	ctx, cancel := context.WithCancel(context.Background())
	l, err := admin.Listen(ctx, path, admin.RootOnly)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- admin.NewServer(d, "1.0", slog.New(slog.DiscardHandler)).Serve(ctx, l) }()
	c := admin.NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return c, path
}

// Every call there is, over a real socket.
func TestCalls(t *testing.T) {
	d := admintest.New()
	c, _ := serve(t, d)
	ctx := t.Context()
	addr := netip.MustParseAddr
	calls := []struct {
		name, want string
		ask        func() (any, error)
	}{
		{"version", `"1.0"`, func() (any, error) { return c.Version(ctx) }},
		{"status", `"version":"1.0"`, func() (any, error) { return c.Status(ctx) }},
		{"leases", `"name":"rabbitmq1"`, func() (any, error) { return c.Leases(ctx, admin.Filter{}) }},
		{"pools", `"network":"internal"`, func() (any, error) { return c.Pools(ctx) }},
		{"hosts", `"name":"node2"`, func() (any, error) { return c.Hosts(ctx) }},
		{"reserve", `"name":"web"`, func() (any, error) {
			return c.Reserve(ctx, admin.Reserving{Reservation: admin.Reservation{Name: "web", Address: addr("172.16.0.50"), Network: "internal"}})
		}},
		{"rename", `null`, func() (any, error) {
			return nil, c.Rename(ctx, admin.Rename{Target: admin.Target{Name: "web", Network: "INTERNAL"}, To: "www"})
		}},
		{"release", `null`, func() (any, error) { return nil, c.Release(ctx, admin.Target{Name: "www"}) }},
		{"import", `"done":true`, func() (any, error) {
			return c.Import(ctx, admin.Import{Reservations: []admin.Reservation{{Name: "db", Address: addr("172.16.0.60")}}})
		}},
		{"forget", `"name":"node3"`, func() (any, error) { return c.ForgetHost(ctx, "node3") }},
		{"dns", `"rcode":"NOERROR"`, func() (any, error) { return c.Ask(ctx, admin.Question{Name: "rabbitmq1"}) }},
		{"record add", `"value":"172.16.0.1"`, func() (any, error) {
			return c.AddRecord(ctx, admin.Record{Name: "gw", Type: "A", Value: "172.16.0.1"})
		}},
		{"records", `"name":"gw"`, func() (any, error) { return c.Records(ctx) }},
		{"record rm", `"name":"gw"`, func() (any, error) { return c.RemoveRecord(ctx, admin.Record{Name: "gw"}) }},
		{"no records", `[]`, func() (any, error) { return c.Records(ctx) }},
		{"doctor", `"findings"`, func() (any, error) { return c.Doctor(ctx, admin.DoctorLook) }},
		{"doctor --fix", `"findings"`, func() (any, error) { return c.Doctor(ctx, admin.DoctorFix) }},
		{"samples", `[]`, func() (any, error) { return c.Samples(ctx) }},
	}
	for _, tt := range calls {
		got, err := tt.ask()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if text, _ := json.Marshal(got); !strings.Contains(string(text), tt.want) {
			t.Errorf("%s: the answer is %s, want %s in it", tt.name, text, tt.want)
		}
	}
	var file bytes.Buffer
	if err := c.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Restore(ctx, bytes.NewReader(file.Bytes()), admin.RestoreDry); err != nil || got.Done || got.New != 2 || d.Restored() != nil {
		t.Errorf("a dry restore gives %+v, %v", got, err)
	}
	if got, err := c.Restore(ctx, bytes.NewReader(file.Bytes()), admin.RestoreReal); err != nil || !got.Done || len(d.Restored()) != 2 {
		t.Errorf("a restore gives %+v, %v", got, err)
	}
}

// What is wrong is named, with the nearest right thing, and has its code.
func TestRefusals(t *testing.T) {
	c, _ := serve(t, admintest.New())
	ctx := t.Context()
	addr := netip.MustParseAddr
	tests := []struct {
		name string
		code admin.Code
		want string
		ask  func() error
	}{
		{"unknown name", admin.CodeNotFound, "no name `rabitmq1`; did you mean `rabbitmq1`", func() error {
			_, err := c.Leases(ctx, admin.Filter{Names: []string{"rabitmq1"}})
			return err
		}},
		{"name with an escape", admin.CodeNotFound, `no name ` + "`" + `\x1b]0;red` + "`", func() error {
			_, err := c.Leases(ctx, admin.Filter{Names: []string{"\x1b]0;red"}})
			return err
		}},
		{"unknown address", admin.CodeNotFound, "no name has the address 172.16.9.9", func() error {
			_, err := c.Leases(ctx, admin.Filter{Addresses: []string{"172.16.9.9"}})
			return err
		}},
		{"no address", admin.CodeUsage, "`172.16.0.300` is no address", func() error {
			_, err := c.Leases(ctx, admin.Filter{Addresses: []string{"172.16.0.300"}})
			return err
		}},
		{"no prefix", admin.CodeUsage, "`172.16.0.0/33` is no prefix", func() error {
			_, err := c.Leases(ctx, admin.Filter{Addresses: []string{"172.16.0.0/33"}})
			return err
		}},
		{"unknown network", admin.CodeNotFound, "no network `intrenal`; did you mean `internal`", func() error {
			_, err := c.Leases(ctx, admin.Filter{Networks: []string{"intrenal"}})
			return err
		}},
		{"network like none", admin.CodeNotFound, "no network `zzz`; there are 10.9.0.0/24, 172.16.0.0/16, blue, front, internal", func() error {
			_, err := c.Leases(ctx, admin.Filter{Networks: []string{"zzz"}})
			return err
		}},
		{"unknown host", admin.CodeNotFound, "no host `nod2`; did you mean `node2`", func() error {
			_, err := c.Leases(ctx, admin.Filter{Hosts: []string{"nod2"}})
			return err
		}},
		{"unknown state", admin.CodeUsage, "no state `liev`; did you mean `live`", func() error {
			_, err := c.Leases(ctx, admin.Filter{States: []string{"liev"}})
			return err
		}},
		{"bad pattern", admin.CodeUsage, "`rab[` is no pattern", func() error {
			_, err := c.Leases(ctx, admin.Filter{Names: []string{"rab["}})
			return err
		}},
		{"name that none can have", admin.CodeUsage, "`a b` can't be a container's name", func() error {
			_, err := c.Reserve(ctx, admin.Reserving{Reservation: admin.Reservation{Name: "a b", Address: addr("172.16.0.1")}})
			return err
		}},
		{"address of another network", admin.CodeUsage, "10.1.1.1 is no address of network `internal`, which has 172.16.0.0/16", func() error {
			_, err := c.Reserve(ctx, admin.Reserving{Reservation: admin.Reservation{Name: "web", Address: addr("10.1.1.1"), Network: "internal"}})
			return err
		}},
		{"taken address", admin.CodeClash, "172.16.0.31 is rabbitmq1's", func() error {
			_, err := c.Reserve(ctx, admin.Reserving{Reservation: admin.Reservation{Name: "web", Address: addr("172.16.0.31")}})
			return err
		}},
		{"running name", admin.CodeClash, "stop it first", func() error { return c.Release(ctx, admin.Target{Name: "rabbitmq1"}) }},
		{"name of another network", admin.CodeNotFound, "`mariadb` has no address in `front`; it has one in `internal`", func() error {
			return c.Release(ctx, admin.Target{Name: "mariadb", Network: "front"})
		}},
		{"network and pool", admin.CodeUsage, "not both", func() error {
			return c.Release(ctx, admin.Target{Name: "mariadb", Network: "front", Pool: "x"})
		}},
		{"new name that none can have", admin.CodeUsage, "can't be a container's name", func() error {
			return c.Rename(ctx, admin.Rename{Target: admin.Target{Name: "mariadb"}, To: "-"})
		}},
		{"living host", admin.CodeClash, "node2 is alive", func() error { _, err := c.ForgetHost(ctx, "2222222222222222"); return err }},
		{"no host", admin.CodeUsage, "missing", func() error { _, err := c.ForgetHost(ctx, ""); return err }},
		{"no backup", admin.CodeUsage, "no backup of dockstack", func() error {
			_, err := c.Restore(ctx, strings.NewReader("{}\n"), admin.RestoreReal)
			return err
		}},
		{"nothing to ask", admin.CodeUsage, "needs a name", func() error { _, err := c.Ask(ctx, admin.Question{}); return err }},
		{"nothing to remove", admin.CodeUsage, "needs a name", func() error { _, err := c.RemoveRecord(ctx, admin.Record{}); return err }},
		{"clashing import", admin.CodeClash, "clash", func() error {
			_, err := c.Import(ctx, admin.Import{Reservations: []admin.Reservation{{Name: "web", Address: addr("172.16.0.31")}}})
			var e *admin.Error
			if errors.As(err, &e) && (e.Plan == nil || len(e.Plan.Clashes) != 1) {
				return errors.New("the plan is missing")
			}
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.ask()
			if err == nil || admin.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v (%s), want %q (%s)", err, admin.CodeOf(err), tt.want, tt.code)
			}
		})
	}
}

// A pattern that nothing fits, or words that only together fit nothing, are no
// error.
func TestNothingFits(t *testing.T) {
	c, _ := serve(t, admintest.New())
	for _, f := range []admin.Filter{
		{Names: []string{"x*"}},
		{Names: []string{"rabbitmq1"}, States: []string{admin.StateParked}},
		{Networks: []string{"front"}},
		{Hosts: []string{"node3"}},
		{Addresses: []string{"10.0.0.0/8"}},
	} {
		if got, err := c.Leases(t.Context(), f); err != nil || got == nil || len(got) != 0 {
			t.Errorf("%+v: %v, %v", f, got, err)
		}
	}
}

// raw asks without the client.
func raw(t *testing.T, s http.Handler, method, target, body string) (int, admin.Error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var e admin.Error
	if w.Code != http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Errorf("%s %s: the error is no JSON: %s", method, target, w.Body)
		}
	}
	return w.Code, e
}

func TestBadCalls(t *testing.T) {
	s := admin.NewServer(admintest.New(), "1.0", slog.New(slog.DiscardHandler))
	tests := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/lease", "", 400, "did you mean `GET /v1/leases`"},
		{"POST", "/v1/leases", "", 400, "did you mean `GET /v1/leases`"},
		{"GET", "/", "", 400, "no call `GET /`"},
		{"GET", "/v1/leases?nam=x", "", 400, "no filter `nam`; did you mean `name`"},
		{"GET", "/v1/leases?name=" + strings.Repeat("x", 3000), "", 404, "…"},
		{"POST", "/v1/reserve", "", 400, "no body"},
		{"POST", "/v1/reserve", "{", 400, "can't be read"},
		{"POST", "/v1/reserve", `{"name":"a"} {}`, 400, "goes on after its end"},
		{"POST", "/v1/reserve", `{"nam":"a"}`, 400, "unknown field"},
		{"POST", "/v1/reserve", `{"name":"aa","address":"1.2.3"}`, 400, "can't be read"},
		{"POST", "/v1/reserve", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 400, "larger than"},
		{"POST", "/v1/restore?dry_run=yes", "", 400, "dry_run is `true`"},
		{"GET", "/v1/watch?since=-1", "", 400, "number of an event"},
	}
	for _, tt := range tests {
		status, e := raw(t, s, tt.method, tt.target, tt.body)
		if status != tt.status || !strings.Contains(e.Text, tt.want) || e.Code == "" {
			t.Errorf("%s %.60s %.40s: %d %+v, want %d %q", tt.method, tt.target, tt.body, status, e, tt.status, tt.want)
		}
	}
}

// A bug in one call is that call's.
func TestPanicEndsNothing(t *testing.T) {
	d := admintest.New()
	d.Panics = true
	c, _ := serve(t, d)
	for range 3 {
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "bug") {
			t.Fatalf("it says %v", err)
		}
	}
	if _, err := c.Pools(t.Context()); err != nil {
		t.Error(err)
	}
}

// A call beyond what is answered at once is told so, and the next is served once
// there is room.
func TestTooMuchAtOnce(t *testing.T) {
	d := admintest.New()
	d.Blocks = true
	c, path := serve(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 100)
	n := 40
	for range n {
		go func() {
			own := admin.NewClient(path)
			defer own.Close()
			_, _ = own.Pools(ctx)
			done <- struct{}{}
		}()
	}
	var busy error
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if _, busy = c.Version(t.Context()); busy != nil {
			break
		}
	}
	if admin.CodeOf(busy) != admin.CodeBusy {
		t.Errorf("with %d calls at once it says %v", n, busy)
	}
	cancel()
	for range n {
		<-done
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, err := c.Version(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// Connections beyond the most are closed, not left waiting.
func TestTooManyConnections(t *testing.T) {
	c, path := serve(t, admintest.New())
	var open []net.Conn
	for range 300 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := c.Version(ctx)
	var away *admin.Unreachable
	if !errors.As(err, &away) || !strings.Contains(err.Error(), "too many connections") {
		t.Errorf("it says %v", err)
	}
	for _, conn := range open {
		_ = conn.Close()
	}
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := c.Version(t.Context()); err == nil {
			break
		} else if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func TestBackupThatBreaksOff(t *testing.T) {
	d := admintest.New()
	d.Fails = admin.Errorf(admin.CodeAway, "the store is away")
	c, _ := serve(t, d)
	if err := c.Backup(t.Context(), io.Discard); admin.CodeOf(err) != admin.CodeAway {
		t.Errorf("it says %v", err)
	}
}

func ExampleErrorf() {
	fmt.Println(admin.CodeOf(fmt.Errorf("wrapped: %w", admin.Errorf(admin.CodeClash, "taken"))))
	// Output: clash
}
