package ipam

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/dockstack/dockstack/internal/kv"
)

// Keys and values in the store. A pool is JSON under pool/ID; a lease is a few
// bytes under lease/ID/NAME, because there may be a hundred thousand of them
// to read at start. Both carry a version.
const (
	poolPrefix  = "pool/"
	leasePrefix = "lease/"
	// use/ID/HOST is what a host does with a pool.
	usePrefix = "use/"
	// What follows exists in a shared store only, so that two hosts can't claim
	// the same: addr/ID/ADDR has the name that holds an address, vni/N the pool
	// that has a VNI, and epoch counts pools that came into use.
	addrPrefix = "addr/"
	vniPrefix  = "vni/"
	epochKey   = "epoch"
	// import/HOST is what a host is about to change in several commits, import/HOST/N
	// how to undo it (see bulk).
	importPrefix = "import/"

	recordVersion = 1
)

// Bits of a lease's second byte.
const (
	flagLive = 1 << iota
	flagFixed
	flagReserved
	flagMAC
	flagMACByUser
	flagHost

	flagsKnown = 1<<iota - 1
)

var errRecord = errors.New("not a record that dockstack writes")

func poolKey(id string) string        { return poolPrefix + id }
func leaseKey(id, name string) string { return leasePrefix + id + "/" + name }

func addrKey(id string, addr netip.Addr) string { return addrPrefix + id + "/" + addr.String() }

func useKey(id, host string) string { return usePrefix + id + "/" + host }

func vniKey(vni uint32) string { return vniPrefix + strconv.FormatUint(uint64(vni), 10) }

// splitLeaseKey is the reverse of leaseKey. An id has exactly one slash.
func splitLeaseKey(key string) (id, name string, ok bool) { return splitKey(key, leasePrefix) }

func splitKey(key, prefix string) (id, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", "", false
	}
	mask := strings.IndexByte(rest, '/')
	if mask < 0 {
		return "", "", false
	}
	end := strings.IndexByte(rest[mask+1:], '/')
	if end < 0 || len(rest) == mask+1+end+1 {
		return "", "", false
	}
	return rest[:mask+1+end], rest[mask+1+end+1:], true
}

// encodeLease: version, flags, milliseconds (varint), address length,
// address, the MAC where flagMAC says so, and the host's id where flagHost
// does.
func (r *Registry) encodeLease(l *lease) []byte {
	b := make([]byte, 2, 56)
	b[0] = recordVersion
	for _, f := range []struct {
		bit byte
		set bool
	}{
		{flagLive, l.live},
		{flagFixed, l.fixed},
		{flagReserved, l.reserved},
		{flagMAC, l.mac != (mac{})},
		{flagMACByUser, l.macByUser},
		{flagHost, l.host != nowhere},
	} {
		if f.set {
			b[1] |= f.bit
		}
	}
	b = binary.AppendVarint(b, l.since)
	b = append(b, byte(l.addr.BitLen()/8))
	b = append(b, l.addr.AsSlice()...)
	if l.mac != (mac{}) {
		b = append(b, l.mac[:]...)
	}
	return append(b, r.hostID(l.host)...)
}

// decodeLease reads what encodeLease wrote into l.
func (r *Registry) decodeLease(l *lease, b []byte) error {
	if len(b) < 2 {
		return errRecord
	}
	if err := checkVersion(int(b[0])); err != nil {
		return err
	}
	flags := b[1]
	since, n := binary.Varint(b[2:])
	if flags&^flagsKnown != 0 || n <= 0 || len(b) < 2+n+1 {
		return errRecord
	}
	size := int(b[2+n])
	rest := b[2+n+1:]
	if size != 4 && size != 16 || len(rest) < size {
		return errRecord
	}
	l.addr, _ = netip.AddrFromSlice(rest[:size])
	rest = rest[size:]
	if flags&flagMAC != 0 && len(rest) >= len(l.mac) {
		l.mac = mac(rest[:len(l.mac)])
		rest = rest[len(l.mac):]
	}
	if flags&flagHost != 0 && len(rest) > 0 && len(rest) <= maxHostID {
		l.host = r.hostNumber(rest)
		rest = nil
	}
	if len(rest) != 0 || flags&flagHost != 0 && l.host == nowhere || (flags&flagMAC != 0) != (l.mac != mac{}) || flags&flagMACByUser != 0 && l.mac == (mac{}) {
		return errRecord
	}
	l.live = flags&flagLive != 0
	l.fixed = flags&flagFixed != 0
	l.reserved = flags&flagReserved != 0
	l.macByUser = flags&flagMACByUser != 0
	l.since = since
	return nil
}

type storedPool struct {
	Version int `json:"v"`
	poolRecord
}

func encodePool(rec *poolRecord) ([]byte, error) {
	return json.Marshal(storedPool{Version: recordVersion, poolRecord: *rec})
}

func decodePool(id string, b []byte) (poolRecord, error) {
	var s storedPool
	if err := json.Unmarshal(b, &s); err != nil {
		return poolRecord{}, err
	}
	if err := checkVersion(s.Version); err != nil {
		return poolRecord{}, err
	}
	rec := s.poolRecord
	subnet, overlay, err := ParsePoolID(id)
	switch {
	case err != nil:
		return poolRecord{}, err
	case rec.Subnet != subnet || rec.Overlay != overlay:
		return poolRecord{}, fmt.Errorf("%w: it is for %s", errRecord, PoolID(rec.Subnet, rec.Overlay))
	case !rec.Range.IsValid() || rec.Range != rec.Range.Masked() || rec.Range.Bits() < subnet.Bits() || !subnet.Contains(rec.Range.Addr()):
		return poolRecord{}, fmt.Errorf("%w: range %s", errRecord, rec.Range)
	}
	for _, a := range slices.Concat([]netip.Addr{rec.Gateway, rec.LastGateway}, rec.Aux, rec.Exclude) {
		if a.IsValid() && !subnet.Contains(a) {
			return poolRecord{}, fmt.Errorf("%w: %s lies outside", errRecord, a)
		}
	}
	return rec, nil
}

func encodeUse(u *use) ([]byte, error) { return json.Marshal(u) }

func decodeUse(b []byte) (*use, error) {
	u := new(use)
	if err := json.Unmarshal(b, u); err != nil {
		return nil, err
	}
	return u, nil
}

func checkVersion(v int) error {
	switch {
	case v > recordVersion:
		return fmt.Errorf("%w: it has version %d, this dockstack knows %d", kv.ErrNewer, v, recordVersion)
	case v < 1:
		return errRecord
	}
	return nil
}
