package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"

	"github.com/dockstack/dockstack/internal/kv"
)

// maxBody bounds a request's body, in bytes. The engine's largest are a
// container's port map, some hundred bytes a port.
const maxBody = 8 << 20

// ErrCut is what a repeated call gets that can't be told from another: the
// engine (moby, pkg/plugins/client.go) sends the drained buffer of its first
// try. The engine keeps the text as why the container did not start, and
// package heal knows it there.
var ErrCut = errors.New("the engine repeated a call without its content, because the plugin stopped in the middle of it; start the container again")

// ErrJoin goes with every error of Join. When that fails, the engine deletes the
// network from the container's settings (moby, daemon/container_operations.go,
// connectToNetwork): the next start would succeed, and run it without. Package heal
// knows the text in what the engine keeps, and connects the network again.
var ErrJoin = errors.New("the engine takes the network from a container whose Join fails: before the next start, connect it again (docker network connect NETWORK CONTAINER)")

// joinPath is the call's that ErrJoin is of.
const joinPath = "/NetworkDriver.Join"

// ofJoin adds ErrJoin to an error of that call.
func ofJoin(path string, err error) error {
	if err == nil || path != joinPath {
		return err
	}
	return fmt.Errorf("%w; %w", err, ErrJoin)
}

// errorShape says under which key a protocol expects an error's text.
type errorShape string

const (
	networkErrors errorShape = "Err"   // drivers/remote/api.Response
	ipamErrors    errorShape = "Error" // ipams/remote/api.Response
)

// sameForAll is a response that no request changes.
type sameForAll interface{ sameForAll() }

// handle ties a path to a function from request to response.
func handle[Req, Res any](d *Driver, mux *http.ServeMux, path string, shape errorShape, fn func(context.Context, Req) (Res, error)) {
	serve := func(ctx context.Context, body []byte, done func()) (res Res, err error) {
		// The note goes before the answer: a note without a caller could be
		// taken for another's call, an answer without a note only costs a retry.
		defer done()
		var req Req
		if err := decode(body, &req); err != nil {
			return res, err
		}
		began := time.Now()
		res, err = fn(ctx, req)
		err = ofJoin(path, err)
		d.cfg.Served(Call{Path: path, Took: time.Since(began), Err: err})
		if errors.Is(err, kv.ErrFailed) {
			d.cfg.Failed()
		}
		d.log.Debug("served", "path", path, "request", req, "response", res)
		return res, err
	}
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			d.refuse(w, path, shape, fmt.Errorf("read request: %w", err))
			return
		}
		var res any
		if len(body) == 0 {
			res, err = repeat(r.Context(), d, path, serve)
		} else {
			res, err = serve(r.Context(), body, d.journal.begin(path, body))
		}
		if err != nil {
			d.refuse(w, path, shape, err)
			return
		}
		sdk.EncodeResponse(w, res, false)
	})
}

// repeat answers a call that the engine repeats without its content, by serve.
func repeat[Res any](ctx context.Context, d *Driver, path string, serve func(context.Context, []byte, func()) (Res, error)) (res any, err error) {
	began := time.Now()
	var zero Res
	if _, same := any(zero).(sameForAll); same {
		res, err = d.journal.finish(ctx, path, func(ctx context.Context, body []byte, done func()) (any, error) { return serve(ctx, body, done) })
	} else if body, done := d.journal.one(path); body != nil {
		res, err = serve(ctx, body, done)
	} else {
		err = ofJoin(path, ErrCut)
	}
	if errors.Is(err, ErrCut) {
		d.cfg.Served(Call{Path: path, Took: time.Since(began), Err: err})
		return nil, err
	}
	d.log.Info("repeated call served from the journal", "path", path)
	return res, err
}

// decode reads one JSON object. null, arrays and trailing bytes are refused:
// the engine sends none, and a zero request would act on the wrong thing.
func decode(body []byte, req any) error {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return fmt.Errorf("malformed request: want a JSON object, got %.40q", trimmed)
	}
	if err := json.Unmarshal(trimmed, req); err != nil {
		return fmt.Errorf("malformed request: %w", err)
	}
	return nil
}

// refuse answers in the shape that makes the engine show text as it is:
// status 200 (with another, the IPAM client shows raw JSON).
func (d *Driver) refuse(w http.ResponseWriter, path string, shape errorShape, err error) {
	text := err.Error()
	if d.cfg.HostRoot != "" {
		text = strings.ReplaceAll(text, d.cfg.HostRoot+"/", "/")
	}
	d.log.Warn("refused", "path", path, "error", text)
	sdk.EncodeResponse(w, map[string]string{string(shape): "dockstack: " + text}, false)
}

// none is the request or the response of calls that have nothing to say.
type none struct{}

func (*none) sameForAll() {}

// handleActivation answers the handshake of plugins found by their socket.
func (d *Driver) handleActivation(mux *http.ServeMux) {
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, map[string][]string{"Implements": {"NetworkDriver", "IpamDriver"}}, false)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// The engine takes a 404 for "optional, not implemented".
		d.log.Debug("not implemented", "path", r.URL.Path)
		http.NotFound(w, r)
	})
}

// constant answers a call that carries nothing and always gets the same.
func (d *Driver) constant(mux *http.ServeMux, path string, res any) {
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		sdk.EncodeResponse(w, res, false)
	})
}
