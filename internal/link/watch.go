package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// WatchAddrs says when addresses or routes of the calling thread's network
// namespace changed: then the answers of SourceTo, VTEP and VTEPMTU may be
// others. The channel has room for one word; whoever was slow to read it looks
// once for many changes. It's closed when ctx ends.
func (m *Manager) WatchAddrs(ctx context.Context) (<-chan struct{}, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, s.Close) // ends the wait below
	go func() {
		defer close(changed)
		defer stop()
		for {
			_, _, err := s.Receive()
			if ctx.Err() != nil {
				return
			}
			// ENOBUFS: too many at once, some are lost. That is a change as well.
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				m.log.Error("changes of the host's addresses are not seen any more", "error", err)
				<-ctx.Done()
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}
