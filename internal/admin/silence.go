package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// usualPatience is how long a daemon may take until it is asked whether it is there at
// all, and how long it may take for that.
const usualPatience = 5 * time.Second

// errSilent is why a daemon that takes connections can't be reached.
var errSilent = errors.New("it takes connections, and does not answer")

func (c *Client) patience() time.Duration {
	if c.Patience > 0 {
		return c.Patience
	}
	return usualPatience
}

// Answers returns an Unreachable where the daemon hangs: it takes connections,
// and does not even tell its version. Other errors it leaves to who asks for more.
func (c *Client) Answers(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	resp, err := c.begin(within, callVersion, nil, nil)
	if err == nil {
		_ = resp.Body.Close()
		return nil
	}
	if within.Err() != nil && ctx.Err() == nil {
		return &Unreachable{Socket: c.socket, Cause: errSilent}
	}
	return nil
}

// open begins a call and returns its answer where that is no error. A daemon may
// take its time, for a backup or an import, as long as it answers beside it: one
// that hangs is not waited for.
func (c *Client) open(ctx context.Context, call string, query url.Values, body io.Reader) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	go c.guard(ctx, cancel)
	resp, err := c.begin(ctx, call, query, body)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &guarded{ReadCloser: resp.Body, ctx: ctx, cancel: cancel}
	return resp, nil
}

// guard ends a call whose daemon hangs.
func (c *Client) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	every := time.NewTicker(c.patience())
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if err := c.Answers(ctx); err != nil {
			cancel(err)
			return
		}
	}
}

// guarded is an answer that is being read: its end is the guard's.
type guarded struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // the answer's own, which its Close ends
	cancel context.CancelCauseFunc
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if away, ok := errors.AsType[*Unreachable](context.Cause(g.ctx)); ok {
			return n, away
		}
	}
	return n, err
}

// Close implements io.Closer.
func (g *guarded) Close() error {
	g.cancel(nil)
	if err := g.ReadCloser.Close(); err != nil {
		return fmt.Errorf("end the daemon's answer: %w", err)
	}
	return nil
}
