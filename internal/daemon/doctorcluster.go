package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/doctor"
)

// doctorCluster is the cluster as the doctor sees it.
type doctorCluster struct{ c *cluster }

// Self implements doctor.Cluster.
func (d doctorCluster) Self() string { return d.c.peers.Self().ID }

// Away implements doctor.Cluster.
func (d doctorCluster) Away() (since time.Time, err error) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.c.since, d.c.away
}

// Peers implements doctor.Cluster.
func (d doctorCluster) Peers() []doctor.Peer {
	var out []doctor.Peer
	for _, h := range d.c.peers.All() {
		if h.ID != d.Self() {
			out = append(out, doctor.Peer{ID: h.ID, Name: h.Name, VTEP: h.VTEP})
		}
	}
	return out
}

// Uses implements doctor.Cluster.
func (d doctorCluster) Uses(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	err := d.c.gate.Load(ctx, "use/", func(key string, _ []byte) error {
		pool, host, ok := lastCut(strings.TrimPrefix(key, "use/"))
		if ok {
			out[strings.Clone(host)] = append(out[host], strings.Clone(pool))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which host has which network: %w", err)
	}
	return out, nil
}

// lastCut splits at the last slash: a pool's id has some itself.
func lastCut(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

// Imports implements doctor.Cluster. That of a host which is alive goes on.
func (d doctorCluster) Imports(ctx context.Context) ([]string, error) {
	alive := map[string]bool{}
	for _, h := range d.c.peers.All() {
		alive[h.ID] = true
	}
	var out []string
	err := d.c.gate.Load(ctx, "import/", func(key string, _ []byte) error {
		if host := strings.TrimPrefix(key, "import/"); !strings.Contains(host, "/") && !alive[host] {
			out = append(out, strings.Clone(host))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read which imports are under way: %w", err)
	}
	return out, nil
}
