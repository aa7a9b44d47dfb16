package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// Client asks a daemon.
type Client struct {
	// Patience is how long the daemon may be silent before it is asked whether it
	// is there, and then to answer that; 0 for 5 s. It must not change during calls.
	Patience time.Duration

	socket string
	http   *http.Client
}

// NewClient makes a client of the daemon that listens on socket. It opens
// nothing yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, &Unreachable{Socket: socket, Cause: err}
		}
		return c, nil
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, DisableCompression: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
	}}}
}

// Close closes connections that are open.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Unreachable is the error of a daemon that can't be reached.
type Unreachable struct {
	Socket string
	Cause  error
}

// Error implements error.
func (u *Unreachable) Error() string {
	const wayOut = "`docker plugin ls` says whether it is installed and enabled, `docker plugin enable dockstack-plugin` starts it"
	switch {
	case errors.Is(u.Cause, errSilent):
		return fmt.Sprintf("the daemon does not answer: it takes connections at %s and says nothing; `dockstack doctor` looks at why", Plain(u.Socket))
	case errors.Is(u.Cause, fs.ErrPermission):
		return fmt.Sprintf("the daemon's socket %s is not yours to open: be root, or in the group docker (`sudo usermod -aG docker $USER`, then log in again)", Plain(u.Socket))
	case errors.Is(u.Cause, fs.ErrNotExist), errors.Is(u.Cause, syscall.ENOTDIR):
		return fmt.Sprintf("the daemon is not there: no socket %s; %s", Plain(u.Socket), wayOut)
	case errors.Is(u.Cause, syscall.ECONNREFUSED):
		return fmt.Sprintf("the daemon is not there: nobody listens on %s, which one left behind that ended hard; %s", Plain(u.Socket), wayOut)
	}
	return fmt.Sprintf("the daemon can't be reached at %s: %v; %s", Plain(u.Socket), u.Cause, wayOut)
}

// Unwrap implements errors' interface.
func (u *Unreachable) Unwrap() error { return u.Cause }

// get asks a call without a body.
func get[T any](ctx context.Context, c *Client, call string, query url.Values) (T, error) {
	var out T
	err := c.call(ctx, call, query, nil, &out)
	return out, err
}

// post asks a call whose body is in.
func post[T any](ctx context.Context, c *Client, call string, in any) (T, error) {
	var out T
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("write the call: %w", err)
	}
	if call == callImport && len(body) > MaxImport {
		return out, Errorf(CodeUsage, "that is more than the %d MB that one import takes; import the file in parts", MaxImport>>20)
	}
	err = c.call(ctx, call, nil, bytes.NewReader(body), &out)
	return out, err
}

func (c *Client) call(ctx context.Context, call string, query url.Values, body io.Reader, into any) error {
	resp, err := c.open(ctx, call, query, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("the daemon's answer can't be read: %w", err)
	}
	return nil
}

// begin begins a call and returns its answer where that is no error.
func (c *Client) begin(ctx context.Context, call string, query url.Values, body io.Reader) (*http.Response, error) {
	method, way := wayOf(call)
	if len(query) > 0 {
		way += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dockstack"+way, body)
	if err != nil {
		return nil, fmt.Errorf("make the call: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxTold))
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	var told Error
	if err := json.Unmarshal(text, &told); err != nil || told.Text == "" {
		return nil, Errorf(CodeFailed, "%s answers %s to `%s`; is it dockstack's socket?", Plain(c.socket), resp.Status, call)
	}
	return nil, &told
}

// failed says why a call got no answer.
func (c *Client) failed(ctx context.Context, err error) error {
	var away *Unreachable
	switch {
	case errors.As(err, &away), errors.As(context.Cause(ctx), &away):
		return away
	case ctx.Err() != nil:
		return fmt.Errorf("the daemon's answer was not waited for: %w", context.Cause(ctx))
	}
	if inURL, ok := errors.AsType[*url.Error](err); ok {
		err = inURL.Err
	}
	return &Unreachable{Socket: c.socket, Cause: fmt.Errorf("it hung up before it answered (%w), as a daemon does that ends, or has too many connections", err)}
}

var errEnded = errors.New("it ended the watch, as a daemon does that ends")

// Watch calls fn with each event after since until ctx ends, the daemon does, or
// fn fails. begun is called once the daemon has begun to watch; it may be nil.
func (c *Client) Watch(ctx context.Context, since uint64, begun func(), fn func(Event) error) error {
	query := url.Values{}
	if since != LatestEvent {
		query.Set("since", fmt.Sprint(since))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A daemon that hangs sends no signs of life.
	silent := time.AfterFunc(2*c.patience(), func() { cancel(&Unreachable{Socket: c.socket, Cause: errSilent}) })
	defer silent.Stop()
	resp, err := c.begin(ctx, callWatch, query, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	silent.Reset(3 * heartbeat)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		silent.Reset(3 * heartbeat)
		if begun != nil {
			begun()
			begun = nil
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("the daemon's events can't be read: %w", err)
		}
		if l.Error != nil && l.Error.Code == CodeAway {
			return &Unreachable{Socket: c.socket, Cause: errEnded}
		}
		if l.Error != nil {
			return l.Error
		}
		if l.Event == nil {
			continue
		}
		if err := fn(*l.Event); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &Unreachable{Socket: c.socket, Cause: errEnded}
}
