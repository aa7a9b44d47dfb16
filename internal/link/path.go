package link

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Path is what packets from this host to another one meet.
type Path struct {
	// Answers: the other host answers. Where it doesn't, nothing else is known
	// but what Refused says.
	Answers bool
	// Fits: packets of the size that was asked for get there.
	Fits bool
	// MTU is the size of the largest packet that gets there unfragmented, where
	// the one that was asked for doesn't; of a host that answers by UDP alone the
	// largest common one.
	MTU int
	// Limit is the router that said that larger ones don't fit; invalid where
	// they vanish without a word, as by a switch or a firewall.
	Limit netip.Addr
	// Refused is why nothing gets there, as this host or a router says; "" if
	// nobody said anything.
	Refused string
}

const (
	// pathTries is how often a packet is sent before it counts as lost.
	pathTries = 3
	// pathPause is the time between two tries, at least; it's longer where
	// answers take longer.
	pathPause = 150 * time.Millisecond
	// pathSilence is how long a host may be silent: the kernel needs 3 s to
	// find that nobody has an address on this link.
	pathSilence = 3500 * time.Millisecond
	// pathSizes are tried at once, so a search takes a few rounds.
	pathSizes = 8
	// smallest is a packet that fits everywhere (RFC 791).
	smallest = 68
)

// ProbePath finds out whether packets of size bytes, the IP header included,
// get from an address of this host to another host without being fragmented,
// and which do if those don't. It asks by ICMP echo in the network namespace of
// the calling thread, and where that is not answered by UDP. What another host sends back is not looked at: it asks for
// itself.
func ProbePath(ctx context.Context, from, to netip.Addr, size int) (Path, error) {
	e, err := openEcho(ctx, from.Unmap(), to.Unmap())
	if err != nil {
		return Path{}, fmt.Errorf("probe the path from %s to %s: %w", from, to, err)
	}
	defer e.close()
	p := &prober{echo: e, pause: pathPause}
	size = max(size, smallest+1)
	out, err := p.probe(ctx, size)
	if err == nil && !out.Answers && out.Refused == "" {
		out, err = knock(ctx, from.Unmap(), to.Unmap(), size)
	}
	if err != nil {
		return Path{}, fmt.Errorf("probe the path from %s to %s: %w", from, to, err)
	}
	return out, nil
}

// prober searches for the largest packet that gets to a host.
type prober struct {
	echo *echo
	// pause is between two tries of a packet.
	pause time.Duration
	// last is the number of the last packet.
	last uint16
	// limit is who said that a packet doesn't fit, and hint what would.
	limit netip.Addr
	hint  int
	// refused is what was said about the other host.
	refused string
}

func (p *prober) probe(ctx context.Context, size int) (Path, error) {
	began := time.Now()
	var got []int
	for len(got) == 0 && p.refused == "" && time.Since(began) < pathSilence {
		var err error
		if got, err = p.round(ctx, []int{smallest, size}); err != nil {
			return Path{}, err
		}
	}
	switch {
	case len(got) == 0:
		return Path{Refused: p.refused}, nil
	case slices.Contains(got, size):
		return Path{Answers: true, Fits: true, MTU: size}, nil
	}
	// A packet may have been lost for another reason.
	lo, hi := smallest, size
	for hi-lo > 1 {
		sizes := spread(lo, hi)
		if p.hint > lo && p.hint < hi {
			sizes = append(sizes, p.hint, p.hint+1)
		}
		got, err := p.round(ctx, sizes)
		if err != nil {
			return Path{}, err
		}
		for _, s := range got {
			lo = max(lo, s)
		}
		for _, s := range sizes {
			if s > lo {
				hi = min(hi, s)
			}
		}
	}
	return Path{Answers: true, Fits: lo >= size, MTU: lo, Limit: p.limit}, nil
}

// spread returns sizes between two, evenly, at least one.
func spread(lo, hi int) []int {
	n := min(pathSizes, hi-lo-1)
	out := make([]int, 0, n+2)
	for i := 1; i <= n; i++ {
		out = append(out, lo+(hi-lo)*i/(n+1))
	}
	return slices.Compact(out)
}

// round sends packets of these sizes and returns those that were answered.
func (p *prober) round(ctx context.Context, sizes []int) ([]int, error) {
	r := round{waiting: map[uint16]int{}}
	for _, s := range sizes {
		p.last++
		r.waiting[p.last] = s
	}
	for range pathTries {
		if err := p.try(ctx, &r); err != nil {
			return nil, err
		}
		if len(r.waiting) == 0 || p.refused != "" {
			break
		}
	}
	return r.answered, nil
}

// round is what became of some packets. Those that are said to be too big wait
// no longer, and count as not answered.
type round struct {
	waiting  map[uint16]int
	answered []int
}

// try sends what waits once, and takes answers for a while.
func (p *prober) try(ctx context.Context, r *round) error {
	sent := time.Now()
	for seq, size := range r.waiting {
		fits, err := p.echo.send(seq, size)
		if err != nil {
			if p.refused = refusal(err); p.refused == "" {
				return err
			}
			return nil
		}
		if !fits {
			delete(r.waiting, seq)
		}
	}
	for len(r.waiting) > 0 {
		a, err := p.echo.receive(ctx, sent.Add(p.pause))
		if err != nil || a == nil {
			return err // the time is up, or all is
		}
		size, asked := r.waiting[a.seq]
		switch {
		case a.refused != "": // it may be about an earlier packet
			p.refused = a.refused
			return nil
		case !asked:
			continue // of an earlier round
		case a.tooBig:
			p.limit, p.hint = a.by, a.mtu
		default:
			r.answered = append(r.answered, size)
			p.pause = max(p.pause, 3*time.Since(sent))
		}
		delete(r.waiting, a.seq)
	}
	return nil
}
