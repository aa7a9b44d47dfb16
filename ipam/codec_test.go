package ipam

import (
	"bytes"
	"net/netip"
	"testing"
)

func FuzzDecodeLease(f *testing.F) {
	r := &Registry{hosts: newHosts("h1")}
	p := newPool("172.16.0.0/16")
	for _, l := range []*lease{
		{pool: p, addr: netip.MustParseAddr("172.16.0.2"), since: 1, live: true},
		{pool: p, addr: netip.MustParseAddr("fd00::2"), since: -1, fixed: true, reserved: true, mac: mac{2, 0, 0, 0, 0, 1}, macByUser: true},
		{pool: p, addr: netip.MustParseAddr("172.16.0.2"), host: me, live: true},
	} {
		f.Add(r.encodeLease(l))
	}
	f.Add([]byte{})
	f.Add([]byte{9, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l lease
		if r.decodeLease(&l, b) != nil {
			return
		}
		var again lease
		if err := r.decodeLease(&again, r.encodeLease(&l)); err != nil || again != l {
			t.Errorf("%+v came back as %+v (%v)", l, again, err)
		}
	})
}

func FuzzDecodePool(f *testing.F) {
	f.Add("172.16.0.0/16", []byte(`{"v":1,"subnet":"172.16.0.0/16","range":"172.16.0.0/24","gateway":"172.16.0.1","aux":["172.16.0.9"],"vni":7,"mtu":1450,"requested_at":"2026-01-02T03:04:05Z"}`))
	f.Add("172.16.0.0/16@blue", []byte(`{"v":1,"subnet":"172.16.0.0/16","range":"172.16.0.0/16","overlay":"blue"}`))
	f.Add("", []byte(`null`))
	f.Fuzz(func(t *testing.T, id string, b []byte) {
		rec, err := decodePool(id, b)
		if err != nil {
			return
		}
		out, err := encodePool(&rec)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", rec, err)
		}
		again, err := decodePool(id, out)
		if err != nil || !again.equal(&rec) {
			t.Errorf("%+v came back as %+v (%v)", rec, again, err)
		}
	})
}

func FuzzPoolID(f *testing.F) {
	for _, s := range []string{"172.16.0.0/16", "fd00::/64@blue", "10.0.0.0/8@a%2Fb", "172.16.0.1/16", "::ffff:1.2.3.4/120", "", "@", "1.2.3.0/24@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		subnet, overlay, err := ParsePoolID(id)
		if err == nil && PoolID(subnet, overlay) != id {
			t.Errorf("%q came back as %q", id, PoolID(subnet, overlay))
		}
	})
}

func FuzzLeaseKey(f *testing.F) {
	f.Add("172.16.0.0/16", "blue/ü", "web")
	f.Add("fd00::/64", "", "with/slash")
	f.Fuzz(func(t *testing.T, cidr, overlay, name string) {
		subnet, err := netip.ParsePrefix(cidr)
		if err != nil || name == "" {
			return
		}
		key := leaseKey(PoolID(subnet.Masked(), overlay), name)
		id, gotName, ok := splitLeaseKey(key)
		if !ok || gotName != name || id != PoolID(subnet.Masked(), overlay) {
			t.Errorf("%q is read as %q, %q", key, id, gotName)
		}
		if s, o, err := ParsePoolID(id); err != nil || s != subnet.Masked() || o != overlay {
			t.Errorf("id %q is read as %s, %q (%v)", id, s, o, err)
		}
	})
}

// The first record ever written must be readable for ever.
func TestRecordsOfVersion1(t *testing.T) {
	r := &Registry{hosts: newHosts("h1")}
	p := newPool("172.16.0.0/16")
	l := &lease{
		pool: p, addr: netip.MustParseAddr("172.16.0.2"), since: 1_700_000_000_000,
		live: true, fixed: true, mac: mac{2, 0, 0, 0, 0, 1}, macByUser: true,
	}
	stored := []byte("\x01\x1b\x80\xa0\xab\xfe\xf9\x62\x04\xac\x10\x00\x02\x02\x00\x00\x00\x00\x01")
	if got := r.encodeLease(l); !bytes.Equal(got, stored) {
		t.Errorf("written as %q, want %q", got, stored)
	}
	read := lease{pool: p}
	if err := r.decodeLease(&read, stored); err != nil || read != *l {
		t.Errorf("read as %+v (%v)", read, err)
	}
}

// What a host adds to it.
func TestLeaseOfHost(t *testing.T) {
	r := &Registry{hosts: newHosts("h1")}
	l := &lease{pool: newPool("172.16.0.0/16"), addr: netip.MustParseAddr("172.16.0.2"), host: r.hostNumber([]byte("h2"))}
	stored := []byte("\x01\x20\x00\x04\xac\x10\x00\x02h2")
	if got := r.encodeLease(l); !bytes.Equal(got, stored) {
		t.Errorf("written as %q, want %q", got, stored)
	}
	read := lease{pool: l.pool}
	if err := r.decodeLease(&read, stored); err != nil || read != *l {
		t.Errorf("read as %+v (%v)", read, err)
	}
}
