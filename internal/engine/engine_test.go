package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeEngine answers as much of the API as is asked; test/e2e asks a real one.
type fakeEngine struct {
	names  chan string // the container's name from now on, one event each
	name   string
	events chan struct{}
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.52")
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if i := strings.Index(path[1:], "/"); strings.HasPrefix(path, "/v1.") && i > 0 {
		path = path[i+1:]
	}
	switch path {
	case "/_ping":
		_, _ = fmt.Fprint(w, "OK")
	case "/version":
		_, _ = fmt.Fprint(w, `{"Version":"29.6.0","ApiVersion":"1.52"}`)
	case "/networks":
		_, _ = fmt.Fprint(w, `[{"Id":"n1","Name":"internal","Driver":"dockstack"}]`)
	case "/containers/json":
		_, _ = fmt.Fprintf(w, `[{"Id":"c1","Names":["/other/alias","/%s"],"State":"running","NetworkSettings":{"Networks":{"internal":{"NetworkID":"n1","EndpointID":"e1","IPAddress":"172.16.0.2"}}}}]`, f.name)
	case "/events":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for {
			select {
			case f.name = <-f.names:
				_, _ = fmt.Fprint(w, `{"Type":"container","Action":"rename"}`+"\n")
				w.(http.Flusher).Flush()
			case <-f.events:
				return // the engine stops
			case <-r.Context().Done():
				return
			}
		}
	default:
		http.NotFound(w, r)
	}
}

func TestFollowsRenamesAndReconnects(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeEngine{names: make(chan string), name: "web", events: make(chan struct{})}
	srv := &http.Server{Handler: fake, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })

	pictures := make(chan Picture)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, Config{Socket: socket, Log: slog.New(slog.DiscardHandler), Apply: func(ctx context.Context, p Picture) {
			select {
			case pictures <- p:
			case <-ctx.Done():
			}
		}})
	}()
	t.Cleanup(func() { cancel(); <-done })
	next := func(name string) {
		t.Helper()
		select {
		case p := <-pictures:
			if p.Networks["n1"] != "internal" || len(p.Endpoints) != 1 || p.Endpoints[0].Container != name || p.Endpoints[0].ID != "e1" {
				t.Errorf("picture %+v, want %s on internal", p, name)
			}
		case <-time.After(time.Minute):
			t.Fatal("no picture came")
		}
	}
	next("web")
	fake.names <- "web2"
	next("web2")
	fake.events <- struct{}{}
	next("web2")
}
