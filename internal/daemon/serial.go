package daemon

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/kv"
)

// serialKey is where a host's own store has a serial that none was beyond.
const serialKey = "dns-serial"

const (
	// serialRoom is by how much the stored serial is beyond the present one, and
	// serialLeft how near that may come.
	serialRoom = 1000
	serialLeft = 500
)

// serial counts the pictures that DNS answers from. It is the time in seconds,
// which is beyond whatever was counted before a restart, unless pictures changed
// faster than once a second: then how far it came is stored.
type serial struct {
	store kv.Store
	clock func() time.Time
	// ahead gets a value when the stored one has to grow.
	ahead chan struct{}

	mu           sync.Mutex
	last, stored uint32 // guarded by mu
}

func openSerial(ctx context.Context, store kv.Store) (*serial, error) {
	s := &serial{store: store, clock: time.Now, ahead: make(chan struct{}, 1)}
	text, err := readKey(ctx, store, serialKey)
	if err != nil {
		return nil, fmt.Errorf("read DNS's serial: %w", err)
	}
	if n, err := strconv.ParseUint(string(text), 10, 32); err == nil {
		s.stored = uint32(n)
	}
	s.last = s.stored
	return s, nil
}

// next is larger than all before it.
func (s *serial) next() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := uint32(s.clock().Unix()) // it wraps, as RFC 1982 has it
	if s.last++; int32(now-s.last) > 0 {
		s.last = now
	} else if int32(s.stored-s.last) < serialLeft {
		nudge(s.ahead)
	}
	return s.last
}

// run stores how far it came, until ctx ends.
func (s *serial) run(ctx context.Context, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ahead:
		}
		s.mu.Lock()
		n := s.last + serialRoom
		s.mu.Unlock()
		err := s.store.Commit(ctx, []kv.Op{{Key: serialKey, Value: strconv.AppendUint(nil, uint64(n), 10)}})
		if err != nil {
			if ctx.Err() == nil {
				failed(fmt.Errorf("write DNS's serial: %w", err))
			}
			continue // the next change tries again
		}
		s.mu.Lock()
		s.stored = n
		s.mu.Unlock()
	}
}
