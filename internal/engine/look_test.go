package engine

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answersOf are what an engine says, by path.
var answersOf = map[string]string{
	"/_ping":           `OK`,
	"/info":            `{"ServerVersion":"29.0.1","LiveRestoreEnabled":true,"Swarm":{"LocalNodeState":"active"},"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}`,
	"/networks":        `[{"Id":"n1","Name":"internal","Driver":"dockstack","EnableIPv6":false,"Options":{"dockstack.vni":"7"},"IPAM":{"Driver":"dockstack","Config":[{"Subnet":"172.16.0.0/16","Gateway":"172.16.0.1"}]}}]`,
	"/containers/json": `[{"Id":"c1","Names":["/web"],"State":"running","NetworkSettings":{"Networks":{"internal":{"NetworkID":"n1","EndpointID":"e1"},"other":{"NetworkID":"n2","EndpointID":""}}}}]`,
	"/plugins":         `[{"Name":"dockstack-plugin:latest","Enabled":true,"Config":{"Interface":{"Socket":"dockstack.sock"}},"Settings":{"Mounts":[{"Source":"/run"},{"Source":null}]}}]`,
}

func TestLook(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.52")
		w.Header().Set("Content-Type", "application/json")
		path := r.URL.Path
		if i := strings.Index(path[1:], "/"); strings.HasPrefix(path, "/v1.") && i > 0 {
			path = path[i+1:]
		}
		answer, ok := answersOf[path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = fmt.Fprint(w, answer)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	v, err := Look(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if v.Version != "29.0.1" || !v.Swarm || !v.LiveRestore || !v.Rootless {
		t.Errorf("the engine: %+v", v)
	}
	if len(v.Networks) != 1 || v.Networks[0].Name != "internal" || v.Networks[0].IPAM != "dockstack" || v.Networks[0].Subnets[0].Gateway.String() != "172.16.0.1" {
		t.Errorf("networks %+v", v.Networks)
	}
	if want := (ViewEndpoint{ID: "e1", Network: "n1", NetworkName: "internal", Container: "web", Running: true}); len(v.Endpoints) != 1 || v.Endpoints[0] != want {
		t.Errorf("endpoints %+v", v.Endpoints)
	}
	if len(v.Plugins) != 1 || v.Plugins[0].Socket != "dockstack.sock" || !v.Plugins[0].Enabled || len(v.Plugins[0].Mounts) != 1 {
		t.Errorf("plugins %+v", v.Plugins)
	}
	if _, err := Look(t.Context(), socket+".not"); err == nil {
		t.Error("no engine is no error")
	}
}
