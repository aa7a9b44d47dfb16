package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/dockstack/dockstack/internal/kv"
	"github.com/dockstack/dockstack/internal/kv/boltkv"
	"github.com/dockstack/dockstack/internal/peers"
	"github.com/dockstack/dockstack/ipam"
)

// lives is what the leases of a store do.
type lives string

const (
	parked lives = "parked"
	live   lives = "live"
)

// starter prepares stores and starts daemons with them.
type starter struct {
	bench *bench
	dir   string
	pool  string
	addrs map[string]string // by name, as the daemon says them
}

func (s *starter) store(l lives) string { return filepath.Join(s.dir, string(l)+".db") }

// used is the store that the next daemon finds.
func (s *starter) used() string { return filepath.Join(s.dir, "varlib", "dockstack", "dockstack.db") }

func leaseName(i int) string { return fmt.Sprintf("service-%d", i) }

const (
	subnet    = "10.64.0.0/12"
	networkID = "6f1c0b5e9a3d47d28c0e5b7f1a2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e"
)

// prepare has a daemon make the network, so that the store is what a daemon
// leaves, and then gives the leases to it.
func (s *starter) prepare(ctx context.Context) (err error) {
	if err := os.MkdirAll(filepath.Dir(s.used()), 0o700); err != nil {
		return err
	}
	d, err := startDaemon(ctx, s.bench.root, s.dir)
	if err != nil {
		return err
	}
	if s.pool, err = d.createNetwork(ctx, networkID, subnet); err != nil {
		return errors.Join(err, d.kill())
	}
	if err := d.stop(); err != nil {
		return err
	}
	s.addrs = make(map[string]string, leases)
	for _, l := range []lives{parked, live} {
		if err := copyFile(s.used(), s.store(l)); err != nil {
			return err
		}
		if err := s.fill(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// fill adds the leases.
func (s *starter) fill(ctx context.Context, l lives) error {
	store, err := boltkv.Open(s.store(l))
	if err != nil {
		return err
	}
	late := &collector{Store: store}
	var reg *ipam.Registry
	host, err := peers.Identity(ctx, store) // the daemon's
	if err == nil {
		reg, err = ipam.Open(ctx, late, ipam.Config{Host: host})
	}
	if err != nil {
		return errors.Join(err, store.Close())
	}
	for i := range leases {
		if err := s.lease(ctx, reg, leaseName(i), l); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	const piece = 5000
	for len(late.ops) > 0 {
		n := min(piece, len(late.ops))
		if err := store.Commit(ctx, late.ops[:n]); err != nil {
			return errors.Join(err, store.Close())
		}
		late.ops = late.ops[n:]
	}
	return store.Close()
}

// lease does what a container's start does, and what its end does if the lease
// is to be parked.
func (s *starter) lease(ctx context.Context, reg *ipam.Registry, name string, l lives) error {
	got, err := reg.RequestAddress(ctx, ipam.AddressRequest{Pool: s.pool, Name: name})
	if err != nil {
		return err
	}
	s.addrs[name] = got.String()
	id := "ep-" + name
	if _, err := reg.Attach(ctx, ipam.Endpoint{ID: id, Network: networkID, Addrs: []netip.Addr{got.Addr()}}); err != nil {
		return err
	}
	if l == live {
		return nil
	}
	return errors.Join(reg.Detach(ctx, id), reg.ReleaseAddress(ctx, s.pool, got.Addr()))
}

// collector keeps commits back, to write them in large pieces.
type collector struct {
	kv.Store
	ops []kv.Op
}

func (c *collector) Commit(_ context.Context, ops []kv.Op, _ ...kv.Cond) error {
	c.ops = append(c.ops, ops...)
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
