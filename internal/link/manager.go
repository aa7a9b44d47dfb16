package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dockstack/dockstack/internal/fabric"
)

const (
	// answerTimeout bounds each wait for the kernel. Deleting a link is the
	// slowest thing asked here: 17 ms, some 100 under load.
	answerTimeout = 10 * time.Second
	// dumpTries bounds how often a listing is begun anew because something
	// changed while it ran.
	dumpTries = 10
	// deleters is how many deletions wait for the kernel side by side.
	deleters = 8
)

// Manager makes, changes and removes links in one network namespace: that of
// the thread that called Open. Safe for concurrent use.
type Manager struct {
	log *slog.Logger
	nl  *netlink.Handle
	// raw is for messages that netlink.Handle doesn't know.
	raw map[int]*nl.SocketHandle
	eth *features
	// spares holds handles of their own for what takes long, deletions and many
	// entries: a handle waits for one answer at a time.
	spares chan *netlink.Handle
	// nft is a connection that keeps its socket, which belongs to a namespace.
	// nftMu guards it: what two calls queue must not go together.
	nft *nftables.Conn
	// rulesMu guards the forwarding rules: they are compared as a whole.
	rulesMu sync.Mutex
}

var _ fabric.Links = (*Manager)(nil)

// Open returns a Manager for the network namespace of the calling thread.
// Close releases it.
func Open(log *slog.Logger) (*Manager, error) {
	m := &Manager{log: log, spares: make(chan *netlink.Handle, deleters)}
	if err := m.open(); err != nil {
		m.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return m, nil
}

func (m *Manager) open() error {
	var err error
	if m.nl, err = newHandle(); err != nil {
		return err
	}
	for range deleters {
		h, err := newHandle()
		if err != nil {
			return err
		}
		m.spares <- h
	}
	sock, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	m.raw = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: sock}}
	if err := setTimeout(sock); err != nil {
		return err
	}
	if m.eth, err = openFeatures(); err != nil {
		return err
	}
	if m.nft, err = openNFT(); err != nil {
		// Only tunnels need it: PutTunnelFilter tries again, and says why.
		m.log.Debug("no nftables yet", "error", err)
	}
	return nil
}

// spare takes a handle for something long; putBack returns it.
func (m *Manager) spare(ctx context.Context) (*netlink.Handle, error) {
	select {
	case h := <-m.spares:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *Manager) putBack(h *netlink.Handle) { m.spares <- h }

func newHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := h.SetSocketTimeout(answerTimeout); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func setTimeout(sock *nl.NetlinkSocket) error {
	tv := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	return errors.Join(sock.SetSendTimeout(&tv), sock.SetReceiveTimeout(&tv))
}

// Close releases the sockets. It must not run beside other calls.
func (m *Manager) Close() {
	if m.nl != nil {
		m.nl.Close()
	}
	for len(m.spares) > 0 {
		(<-m.spares).Close()
	}
	for _, s := range m.raw {
		s.Close()
	}
	if m.eth != nil {
		m.eth.close()
	}
	if m.nft != nil {
		_ = m.nft.CloseLasting()
	}
}

// List returns the links whose names begin with prefix.
func (m *Manager) List(ctx context.Context, prefix string) ([]fabric.Link, error) {
	all, err := dump(ctx, m.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var out []fabric.Link
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, prefix) {
			out = append(out, seen(l))
		}
	}
	return out, nil
}

// Find implements fabric.Links: one link costs the same however many there are.
func (m *Manager) Find(name string) (fabric.Link, bool, error) {
	l, err := m.nl.LinkByName(name)
	if absent(err) {
		return fabric.Link{}, false, nil
	}
	if err != nil {
		return fabric.Link{}, false, fmt.Errorf("look for link %s: %w", name, err)
	}
	return seen(l), true, nil
}

func seen(l netlink.Link) fabric.Link {
	a := l.Attrs()
	return fabric.Link{Name: a.Name, Index: a.Index, Alias: a.Alias, Down: a.Flags&net.FlagUp == 0, MTU: a.MTU, PeerElsewhere: peerElsewhere(l)}
}

// peerElsewhere is whether l is a veth whose peer is in another network
// namespace: only then the kernel gives an id for the peer's.
func peerElsewhere(l netlink.Link) bool {
	return l.Type() == typeVeth && l.Attrs().NetNsID >= 0
}

// dump repeats a listing that a change interrupted: such a one may lack
// entries.
func dump[T any](ctx context.Context, list func() ([]T, error)) ([]T, error) {
	var err error
	for range dumpTries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var out []T
		if out, err = list(); err == nil {
			return out, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
	}
	return nil, err
}
