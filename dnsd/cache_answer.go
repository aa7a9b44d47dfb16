package dnsd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxTTL is how long an answer is kept at most, in seconds, and what clients
	// are told at most: whoever changes an address waits an hour, no longer.
	maxTTL = 3600
	// maxNegativeTTL bounds "no such name" and "no such record". Zones say hours
	// for it, and a name that was looked for too early should be found soon.
	maxNegativeTTL = 60
	// failureTTL is how long a failure is repeated without asking again, the
	// least that RFC 9520 allows: resolvers that are down are not asked by
	// everybody at once, and one that is back is used a second later.
	failureTTL = 1
	// staleTTL is what an expired answer is given with, and how long it is given
	// before the resolvers are asked again (RFC 8767).
	staleTTL = 30
	// staleFor is how long after its end an answer is still given when nobody
	// else has one: what worked in the evening works in the morning.
	staleFor = 24 * time.Hour

	flagAD = 1 << 5
)

// outcome is what an answer says about its question.
type outcome uint8

const (
	// outcomeFailure: no answer at all.
	outcomeFailure outcome = iota
	// outcomeFound: records of the type asked for.
	outcomeFound
	// outcomeDenied: no such name, or none of that type.
	outcomeDenied
)

// answer is what a resolver said, in the form in which it is kept and handed
// out: a packet without an EDNS record, which only lacks who asked. It does
// not change.
type answer struct {
	wire []byte
	// ttls are the places of the TTLs in wire.
	ttls []uint16
	// options are those of its EDNS record, as they stand in a packet.
	options []byte
	rcode   uint16
	outcome outcome
	// life is how many seconds it may be kept; 0: not at all.
	life uint32
	// stale: it expired, and was taken up again because nobody has another.
	stale bool
	// born is when it came, gone when not even that may happen any more.
	born, gone time.Time
	// server is who said it, domain whose route led there.
	server netip.AddrPort
	domain string
	// note says for people why it is a failure, or stale.
	note string
}

// newAnswer makes what is kept of m, which answers a question and came at now.
// Its EDNS record may have any options; all of them are kept. m is used up.
func newAnswer(m *dns.Msg, now time.Time) (*answer, error) {
	a := &answer{rcode: uint16(m.Rcode), born: now}
	var err error
	extra := m.Extra[:0]
	for _, rr := range m.Extra {
		switch rr := rr.(type) {
		case *dns.OPT:
			if a.options, err = packOptions(rr.Option); err != nil {
				return nil, err
			}
		case *dns.TSIG:
			// It was between the resolver and us.
		default:
			extra = append(extra, rr)
		}
	}
	m.Extra = extra
	a.outcome, a.life = classify(m)
	clampTTLs(m, a.life)
	m.Id, m.Authoritative, m.RecursionAvailable, m.Zero = 0, false, true, false
	m.RecursionDesired, m.CheckingDisabled, m.Rcode = false, false, m.Rcode&0xf
	m.Compress = true
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if len(packed) > dns.MaxMsgSize {
		return nil, fmt.Errorf("%w: %d bytes are more than a message may have", errBadAnswer, len(packed))
	}
	if err := new(dns.Msg).Unpack(packed); err != nil {
		// Records without data (RDLENGTH 0) are read and cannot be written.
		return nil, fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	a.wire = bytes.Clone(packed) // its own memory, no more
	if a.ttls, err = findTTLs(a.wire); err != nil {
		return nil, err
	}
	a.gone = now.Add(time.Duration(a.life) * time.Second)
	if a.outcome == outcomeFound && a.life > 0 {
		a.gone = a.gone.Add(staleFor)
	}
	return a, nil
}

// classify tells what m says and for how many seconds that may be kept. What
// is cut short, or denies without the SOA record that says for how long, may
// not be kept (RFC 2308, 5).
func classify(m *dns.Msg) (outcome, uint32) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return outcomeFailure, failureTTL
	}
	qtype := m.Question[0].Qtype
	life := uint32(maxTTL)
	found := false
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			life = min(life, soundTTL(rr))
		}
	}
	for _, rr := range m.Answer {
		found = found || rr.Header().Rrtype == qtype || qtype == dns.TypeANY
	}
	what := outcomeFound
	if !found || m.Rcode == dns.RcodeNameError {
		what = outcomeDenied
		life = min(life, negativeLife(m.Ns))
	}
	if m.Truncated {
		life = 0
	}
	return what, life
}

// negativeLife is how long the SOA record in authority lets a denial be kept,
// besides its own TTL.
func negativeLife(authority []dns.RR) uint32 {
	for _, rr := range authority {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(soa.Minttl, maxNegativeTTL)
		}
	}
	return 0
}

// soundTTL is rr's TTL; one with the highest bit is none (RFC 2181, 8).
func soundTTL(rr dns.RR) uint32 {
	if ttl := rr.Header().Ttl; ttl < 1<<31 {
		return ttl
	}
	return 0
}

// clampTTLs bounds the TTLs that clients are told. Those of a denial's SOA are
// what the denial may be kept for.
func clampTTLs(m *dns.Msg, life uint32) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			h := rr.Header()
			h.Ttl = min(soundTTL(rr), maxTTL)
			if h.Rrtype == dns.TypeSOA && life > 0 && life <= maxNegativeTTL {
				h.Ttl = min(h.Ttl, life)
			}
		}
	}
}

// packOptions writes options as they stand in a packet.
func packOptions(options []dns.EDNS0) ([]byte, error) {
	if len(options) == 0 {
		return nil, nil
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: options}
	buf := make([]byte, dns.Len(opt)+64)
	n, err := dns.PackRR(opt, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	return buf[optLen:n:n], nil
}

// findTTLs returns where the TTLs in wire are, a packet of ours.
func findTTLs(wire []byte) ([]uint16, error) {
	records := 0
	for i := 6; i < headerLen; i += 2 {
		records += int(binary.BigEndian.Uint16(wire[i:]))
	}
	at := skipName(wire, headerLen) + 4
	ttls := make([]uint16, 0, records)
	for range records {
		at = skipName(wire, at)
		if at+10 > len(wire) {
			return nil, errBadAnswer
		}
		ttls = append(ttls, uint16(at+4))
		at += 10 + int(binary.BigEndian.Uint16(wire[at+8:]))
	}
	if at != len(wire) {
		return nil, errBadAnswer
	}
	return ttls, nil
}

// skipName returns where the name at i ends, or len(wire) if it does not.
func skipName(wire []byte, i int) int {
	for i < len(wire) {
		switch length := int(wire[i]); {
		case length == 0:
			return i + 1
		case length >= 0xc0:
			return min(i+2, len(wire))
		default:
			i += 1 + length
		}
	}
	return len(wire)
}

// age is how many whole seconds passed since a came.
func (a *answer) age(now time.Time) uint32 {
	return uint32(max(now.Sub(a.born), 0) / time.Second)
}

// fresh tells whether a may still be given.
func (a *answer) fresh(now time.Time) bool { return a.age(now) < a.life }
