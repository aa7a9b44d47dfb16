package etcdkv

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// probeTime bounds the question whether a member is there. A member across
	// the continent answers in a fifth of it.
	probeTime = time.Second
	// connectTime is less, so that a probe can tell that the connection failed.
	connectTime = 800 * time.Millisecond
	// keepaliveTime is the least that gRPC pings at; sooner than that, probes
	// notice that a member is gone.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 3 * time.Second
)

// endpoint is one member as we reach it. It makes its connections itself, TLS
// included, because of gRPC's errors only the text is left.
type endpoint struct {
	addr  string
	login login
	opts  []grpc.DialOption

	// mu is held while the client is made.
	mu     sync.Mutex
	client *clientv3.Client

	troubleMu sync.Mutex
	// trouble is why the last connection failed, nil where it did not.
	trouble error
}

// connect returns the endpoint's client, made when it is missing.
func (e *endpoint) connect(ctx context.Context) (*clientv3.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		return e.client, nil
	}
	opts := []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return e.dial(ctx) }),
		grpc.WithNoProxy(),
		grpc.WithChainUnaryInterceptor(failFast),
		// Hosts must find an etcd that comes back within half a second.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 250 * time.Millisecond},
			MinConnectTimeout: connectTime,
		}),
	}
	var err error
	e.client, err = clientv3.New(clientv3.Config{
		Endpoints:            []string{"http://" + e.addr}, // TLS is in dial
		Context:              ctx,
		DialTimeout:          probeTime,
		DialKeepAliveTime:    keepaliveTime,
		DialKeepAliveTimeout: keepaliveTimeout,
		DialOptions:          append(opts, e.opts...),
		Username:             e.login.user,
		Password:             e.login.password,
		Logger:               zap.NewNop(),
		// The second is for a login that expired.
		MaxUnaryRetries: 2,
	})
	if err != nil {
		e.client = nil
	}
	return e.client, err
}

// failFast has requests fail with the connection, where etcd's client would have
// them wait for it: the next member is tried then.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// drop ends the client and all that goes on in it.
func (e *endpoint) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		_ = e.client.Close() // it says that its context ended
		e.client = nil
	}
}

func (e *endpoint) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.addr)
	if err == nil && e.login.tls != nil {
		conn, err = e.handshake(ctx, conn)
	}
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.note(err)
		}
		return nil, err
	}
	return &firstRead{Conn: conn, e: e}, nil
}

func (e *endpoint) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	cfg, err := e.login.tls()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	cfg.ServerName, _, _ = net.SplitHostPort(e.addr)
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if errors.Is(err, io.EOF) && e.talksPlain(ctx) {
			err = errPlain
		}
		return nil, err
	}
	return secure, nil
}

func (e *endpoint) note(err error) {
	e.troubleMu.Lock()
	defer e.troubleMu.Unlock()
	e.trouble = err
}

func (e *endpoint) noted() error {
	e.troubleMu.Lock()
	defer e.troubleMu.Unlock()
	return e.trouble
}

var (
	errPlain  = errors.New("it does not speak TLS")
	errSilent = errors.New("it says nothing")
	errSecure = errors.New("it speaks nothing but TLS")
)

// talksPlain tells whether the server speaks HTTP/2 without TLS.
func (e *endpoint) talksPlain(ctx context.Context) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	// The preface and an empty SETTINGS frame; the server answers with its own.
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return false
	}
	head := make([]byte, 9)
	_, err = io.ReadFull(conn, head)
	return err == nil && head[3] == 4
}

// talksTLS tells whether the server answers a TLS greeting, in whatever way.
func (e *endpoint) talksTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	heard := &firstRead{Conn: conn}
	host, _, _ := net.SplitHostPort(e.addr)
	// Nothing is said over it: what counts is that there is TLS.
	err = tls.Client(heard, &tls.Config{InsecureSkipVerify: true, ServerName: host, MinVersion: tls.VersionTLS12}).HandshakeContext(ctx) //nolint:gosec // see above
	var notTLS tls.RecordHeaderError
	return err == nil || heard.any.Load() && !errors.As(err, &notTLS)
}

// firstRead notes what becomes of a connection before the server said a word:
// that is where a server without, or with, TLS hangs up, and one that does not
// like our certificate.
type firstRead struct {
	net.Conn
	e   *endpoint
	any atomic.Bool
}

// Read implements net.Conn.
func (f *firstRead) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	switch {
	case f.any.Load():
	case n > 0:
		f.any.Store(true)
		if f.e != nil {
			f.e.note(nil)
		}
	case f.e == nil || err == nil:
	case errors.Is(err, net.ErrClosed): // by gRPC, which waited long enough
		f.e.note(errSilent)
	default:
		f.e.note(&hungUpError{err})
	}
	return n, err
}

// hungUpError: the server ended the connection before it said a word.
type hungUpError struct{ err error }

// Error implements error.
func (h *hungUpError) Error() string { return "it hung up: " + h.err.Error() }

// Unwrap returns what the connection said.
func (h *hungUpError) Unwrap() error { return h.err }
