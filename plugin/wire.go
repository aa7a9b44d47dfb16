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

// errEmptyBody is what a repeated call gets: the engine (moby,
// pkg/plugins/client.go) sends the drained buffer of its first try.
var errEmptyBody = errors.New("the engine repeated a call without its content, because the plugin stopped in the middle of it; start the container again")

// errorShape says under which key a protocol expects an error's text.
type errorShape string

const (
	networkErrors errorShape = "Err"   // drivers/remote/api.Response
	ipamErrors    errorShape = "Error" // ipams/remote/api.Response
)

// handle ties a path to a function from request to response.
func handle[Req, Res any](d *Driver, mux *http.ServeMux, path string, shape errorShape, fn func(context.Context, Req) (Res, error)) {
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			d.refuse(w, path, shape, fmt.Errorf("read request: %w", err))
			return
		}
		if len(body) == 0 {
			if body = d.journal.recall(path); body == nil {
				d.refuse(w, path, shape, errEmptyBody)
				return
			}
			d.log.Info("repeated call served from the journal", "path", path)
		}
		var req Req
		if err := decode(body, &req); err != nil {
			d.refuse(w, path, shape, err)
			return
		}
		began := time.Now()
		done := d.journal.begin(path, body)
		res, err := fn(r.Context(), req)
		// The note goes before the answer: a note without a caller could be
		// taken for another's call, an answer without a note only costs a retry.
		done()
		d.cfg.Served(Call{Path: path, Took: time.Since(began), Err: err})
		if err != nil {
			if errors.Is(err, kv.ErrFailed) {
				d.cfg.Failed()
			}
			d.refuse(w, path, shape, err)
			return
		}
		d.log.Debug("served", "path", path, "request", req, "response", res)
		sdk.EncodeResponse(w, res, false)
	})
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
