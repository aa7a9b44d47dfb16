package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// diesAtJoin has the next plugin killed as soon as the engine calls Join, before the
// call is read: the engine then repeats it without its content. Everything before that
// goes to the plugin as it is.
func (h *host) diesAtJoin() {
	h.t.Helper()
	h.killPlugin() // the engine has connections to this one
	began := time.Now()
	socket := h.Path("/run/docker/plugins/dockstack.sock")
	aside := socket + ".aside"
	dial := func(ctx context.Context, path string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	h.eventually(30*time.Second, func() string {
		c, err := dial(h.ctx(), socket)
		if err != nil {
			return err.Error()
		}
		h.check(c.Close())
		return ""
	})
	h.check(os.Rename(socket, aside))
	l, err := (&net.ListenConfig{}).Listen(h.ctx(), "unix", socket)
	h.check(err)
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by then it is the next plugin's
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "plugin"})
	forward.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, aside)
	}}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".Join") {
			forward.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = l.Close()
		time.Sleep(time.Until(began.Add(time.Second))) // the engine gives up what dies twice within half a second
		if err := h.KillPlugin(context.WithoutCancel(r.Context())); err != nil {
			h.t.Error(err)
		}
		panic(http.ErrAbortHandler) // no answer
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	h.t.Cleanup(func() { _ = srv.Close(); <-done; _ = os.Remove(aside) })
}

// TestNetworkTakenAtJoin: the engine takes a network from a container whose start
// failed at Join, and would start it without. It gets it back.
func TestNetworkTakenAtJoin(t *testing.T) {
	h := newHost(t)
	h.networks()
	const joinText = "the engine takes the network from a container whose Join fails"
	h.run("kept", "internal", "--restart", "always", "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=shop", "--network-alias", "shop")
	h.run("loose", "internal")
	h.docker("network", "connect", "ext", "loose") // which of them it loses differs from start to start
	before := h.picture("internal", "ext")
	networks := func(name string) string {
		return h.docker("inspect", "-f", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}", name)
	}
	for _, name := range []string{"kept", "loose"} {
		h.docker("stop", "-t", "1", name)
		had := networks(name)
		h.diesAtJoin()
		h.refused([]string{"start", name}, cutText, joinText)
		h.eventually(time.Minute, func() string {
			if got := networks(name); got != had {
				return name + " is on " + got + "of " + had
			}
			return ""
		})
	}
	h.eventually(time.Minute, func() string {
		if h.docker("inspect", "-f", "{{.State.Running}}", "kept") != "true" {
			return "kept is down"
		}
		return ""
	})
	if aliases := h.docker("inspect", "-f", "{{.NetworkSettings.Networks.internal.Aliases}}", "kept"); aliases != "[shop]" {
		t.Errorf("kept has the aliases %s", aliases)
	}
	if h.docker("inspect", "-f", "{{.State.Running}}", "loose") == "true" {
		t.Error("loose was started, and has no restart policy")
	}
	h.docker("start", "loose")
	for _, c := range before.Changed(h.picture("internal", "ext")) {
		t.Error(c)
	}
	h.reachable(before)
	h.clean()
}
