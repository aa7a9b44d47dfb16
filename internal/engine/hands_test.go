package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

func TestLifeOf(t *testing.T) {
	const text = `{"NetworkSettings":{"Networks":{"internal":{"NetworkID":"n1"}}},"State":{"Running":false,"Error":"cannot join","StartedAt":"2026-11-21T12:00:00.5Z","FinishedAt":"2026-11-21T12:00:07Z"},
		"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"StopTimeout":30}}`
	tests := []struct{ what, old, with, want string }{
		{"as it is", "", "", "up=false cannot join 12:00:00.5 12:00:07 kept=true 30s"},
		{"up", `"Running":false`, `"Running":true`, "up=true cannot join 12:00:00.5 12:00:07 kept=true 30s"},
		{"restarting", `"Running":false`, `"Running":true,"Restarting":true`, "up=false cannot join 12:00:00.5 12:00:07 kept=true 30s"},
		{"without a policy", `"always"`, `"no"`, "up=false cannot join 12:00:00.5 12:00:07 kept=false 30s"},
		{"never started", "2026-11-21T12:00:00.5Z", "0001-01-01T00:00:00Z", "up=false cannot join 00:00:00 12:00:07 kept=true 30s"},
		{"usual grace", `{"StopTimeout":30}`, `{}`, "up=false cannot join 12:00:00.5 12:00:07 kept=true 10s"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			var c container.InspectResponse
			if err := json.Unmarshal([]byte(strings.Replace(text, tt.old, tt.with, 1)), &c); err != nil {
				t.Fatal(err)
			}
			l := lifeOf(&c)
			const clock = "15:04:05.9"
			slices.Sort(l.Networks)
			if !slices.Equal(l.Networks, []string{"internal", "n1"}) {
				t.Errorf("it is on %v", l.Networks)
			}
			if got := fmt.Sprintf("up=%t %s %s %s kept=%t %s", l.Up(), l.Error, l.Started.Format(clock), l.Finished.Format(clock), l.Kept, l.Grace); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestHands(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.52")
		_, path, ours := strings.Cut(r.URL.Path, "/v1.52/")
		if !ours {
			_, _ = fmt.Fprint(w, "OK")
			return
		}
		mu.Lock()
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
		mu.Unlock()
		switch {
		case strings.Contains(path, "/gone/"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"message":"No such container: gone"}`)
		case strings.Contains(path, "/c2/json"):
			_, _ = fmt.Fprint(w, `{"State":{"Running":false}}`)
		case r.Method == http.MethodGet:
			_, _ = fmt.Fprint(w, `{"State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"unless-stopped"}}}`)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	h, err := Open(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if life, err := h.Inspect(t.Context(), "c1"); err != nil || !life.Up() || !life.Kept {
		t.Errorf("c1 is %+v, %v", life, err)
	}
	if err := h.Restart(t.Context(), "c1", time.Second); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"c1", "c2"} {
		if err := h.Start(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if err := h.Connect(t.Context(), "c1", "n1", []string{"shop"}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{h.Start(t.Context(), "gone"), h.Restart(t.Context(), "gone", 0)} {
		if err == nil || !strings.Contains(err.Error(), "container gone: ") || !strings.Contains(err.Error(), "No such container") {
			t.Errorf("the error is %v", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	connected := asked[5]
	asked = slices.Delete(asked, 5, 6)
	if !strings.HasPrefix(connected, "POST networks/n1/connect") || !strings.Contains(connected, `"Container":"c1"`) || !strings.Contains(connected, `"Aliases":["shop"]`) {
		t.Errorf("it was connected by %s", connected)
	}
	want := []string{
		"GET containers/c1/json", "POST containers/c1/restart",
		"GET containers/c1/json", // it runs by now
		"GET containers/c2/json", "POST containers/c2/restart",
		"GET containers/gone/json", "POST containers/gone/restart", "POST containers/gone/restart",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("the engine was asked %q", asked)
	}
}
