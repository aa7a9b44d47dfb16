package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sort"
	"time"

	"github.com/miekg/dns"
)

const (
	// restFor is how long a resolver that was silent is asked after the
	// others, so that a dead first one does not slow every query down.
	restFor = 10 * time.Second
	// maxUpstreams is how many resolvers one query is taken to.
	maxUpstreams = 4
)

// exchange asks one of servers after the other until one has an answer, and
// returns it with who gave it. When all fail, the answer is what one of them
// said about it, or nil, beside the error.
func (u *forwarder) exchange(ctx context.Context, servers []netip.AddrPort, m *dns.Msg) (*dns.Msg, netip.AddrPort, error) {
	servers = u.order(servers)
	if len(servers) == 0 {
		return nil, netip.AddrPort{}, errNoUpstream
	}
	var errs []error
	var refused *dns.Msg
	var by netip.AddrPort
	for _, server := range servers {
		answer, err := u.ask(ctx, server, m)
		switch {
		case err == nil && answer.Rcode != dns.RcodeServerFailure && answer.Rcode != dns.RcodeRefused:
			u.mark(server, nil)
			return answer, server, nil
		case err == nil:
			u.mark(server, nil)
			// Its own words (extended errors, DNSSEC failures) say more than ours.
			refused, by = answer, server
			err = fmt.Errorf("%w: %s", errUpstreamRefused, dns.RcodeToString[answer.Rcode])
		case ctx.Err() == nil:
			u.mark(server, err)
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", server, err))
		if ctx.Err() != nil {
			break
		}
	}
	return refused, by, errors.Join(errs...)
}

// order returns those of servers to ask: not ourselves, and those that were
// silent a moment ago last.
func (u *forwarder) order(all []netip.AddrPort) []netip.AddrPort {
	var servers []netip.AddrPort
	for _, s := range all {
		if !u.self(s) {
			servers = append(servers, s)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.bad) > 0 {
		now := time.Now()
		resting := func(s netip.AddrPort) bool { return now.Before(u.bad[s]) }
		sort.SliceStable(servers, func(i, j int) bool { return !resting(servers[i]) && resting(servers[j]) })
	}
	return servers[:min(len(servers), maxUpstreams)]
}

// mark remembers whether server answered, and logs when that changes.
func (u *forwarder) mark(server netip.AddrPort, err error) {
	u.mu.Lock()
	_, was := u.bad[server]
	if err != nil {
		u.bad[server] = time.Now().Add(restFor)
	} else if was {
		delete(u.bad, server)
	}
	u.mu.Unlock()
	switch {
	case err != nil && !was:
		u.log.Warn("DNS resolver does not answer; the next one is asked", "addr", server, "err", err)
	case err == nil && was:
		u.log.Info("DNS resolver answers again", "addr", server)
	}
}

// askResolver asks one resolver, over TCP if its answer does not fit UDP.
func (u *forwarder) askResolver(ctx context.Context, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	// Each attempt has an ID of its own, and its socket a port that the
	// kernel chooses at random: both must be guessed to slip us an answer.
	q := *m
	q.Id = dns.Id()
	packet, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack the query: %w", err)
	}
	answer, err := askOver(ctx, "udp", server, packet)
	if err != nil || !answer.Truncated {
		return answer, err
	}
	full, err := askOver(ctx, "tcp", server, packet)
	if err != nil {
		// A resolver without TCP: what came is better than nothing, and says
		// itself that it is not all.
		return answer, nil
	}
	return full, nil
}

// askOver sends packet over network and returns the first true answer.
func askOver(ctx context.Context, network string, server netip.AddrPort, packet []byte) (*dns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return askTCP(conn, packet)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var buf [4096]byte
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			return nil, fmt.Errorf("no answer: %w", err)
		}
		if answer, err := checkAnswer(packet, buf[:n]); err == nil {
			return answer, nil
		}
		// Not what we asked for: somebody guesses, or an old answer. The true
		// one may still come.
	}
}

func askTCP(conn net.Conn, packet []byte) (*dns.Msg, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(packet)))
	if _, err := conn.Write(append(framed, packet...)); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, fmt.Errorf("no whole answer: %w", err)
	}
	return checkAnswer(packet, buf)
}

// checkAnswer reads packet if it answers query: the same ID, and the same
// question to the letter, upper and lower case included.
func checkAnswer(query, packet []byte) (*dns.Msg, error) {
	if len(packet) < headerLen || packet[0] != query[0] || packet[1] != query[1] ||
		binary.BigEndian.Uint16(packet[2:])&(flagQR|opcodeMask) != flagQR {
		return nil, errBadAnswer
	}
	asked, got := new(dns.Msg), new(dns.Msg)
	if err := asked.Unpack(query); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	if err := got.Unpack(packet); err != nil {
		if !got.Truncated {
			return nil, fmt.Errorf("%w: %w", errBadAnswer, err)
		}
		// Cut in the middle of a record, as old servers do: all of it is to
		// be had over TCP.
		got.Answer, got.Ns, got.Extra = nil, nil, nil
	}
	if len(got.Question) != 1 || got.Question[0] != asked.Question[0] {
		return nil, errBadAnswer
	}
	return got, nil
}
