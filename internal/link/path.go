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
	// pathTries is how often a packet is sent before it counts as lost, for now.
	pathTries = 3
	// pathInsists is how often the smallest packet that was lost is sent once
	// more, each time beside one that gets through, before that is believed;
	// pathSearches is how often it may be mistaken.
	pathInsists  = 5
	pathSearches = 4
	// pathPause is the time between two tries, at least; it's longer where
	// answers take longer.
	pathPause = 150 * time.Millisecond
	// pathSilence is how long a host may be silent: the kernel needs 3 s to
	// find that nobody has an address on this link.
	pathSilence = 3500 * time.Millisecond
	// pathRefusals is how often it is to be said that nobody gets there: a
	// router whose search for the host was lost says it too.
	pathRefusals = 2
	// pathSizes are tried at once, so a search takes a few rounds.
	pathSizes = 8
	// smallest is a packet that fits everywhere (RFC 791).
	smallest = 68
)

// ProbePath finds out whether packets of size bytes, the IP header included,
// get from an address of this host to another host without being fragmented,
// and which do if those don't. It asks by ICMP echo in the network namespace of
// the calling thread, and where that is not answered by UDP. What another host sends back is
// not looked at: it asks for itself.
func ProbePath(ctx context.Context, from, to netip.Addr, size int) (Path, error) {
	e, err := openEcho(ctx, from.Unmap(), to.Unmap())
	if err != nil {
		return Path{}, fmt.Errorf("probe the path from %s to %s: %w", from, to, err)
	}
	defer e.close()
	p := &prober{echo: e, pause: pathPause, sent: map[uint16]int{}}
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
//
// That a packet is not answered proves little: it, or its answer, may be lost or
// late for another reason than its size. So an answer counts whenever it comes,
// and the end of the search is made sure of, unless a router says it.
type prober struct {
	echo *echo
	// pause is between two tries of a packet.
	pause time.Duration
	// sent are the sizes of all packets, by their number, which last is the last.
	sent map[uint16]int
	last uint16
	// fits is the largest that was answered, tooBig the smallest of which somebody
	// says that it doesn't fit; 0 for none.
	fits, tooBig int
	// limit is who said that a packet doesn't fit, and hint what would.
	limit netip.Addr
	hint  int
	// refused is what was said about the other host, refusals how often, each time
	// about a packet after the one that heard was the last before.
	refused  string
	refusals int
	heard    uint16
}

func (p *prober) probe(ctx context.Context, size int) (Path, error) {
	until := time.Now().Add(pathSilence)
	for p.fits == 0 && p.refusals < pathRefusals && time.Now().Before(until) {
		before := p.refusals
		if err := p.round(ctx, []int{smallest, size}); err != nil {
			return Path{}, err
		}
		if p.refusals > before {
			until = time.Now().Add(pathSilence)
		}
	}
	if p.fits == 0 {
		return Path{Refused: p.refused}, nil
	}
	for range pathSearches {
		lost, err := p.search(ctx, size)
		if err != nil {
			return Path{}, err
		}
		if p.fits >= size || lost == p.tooBig {
			break
		}
		if err := p.insist(ctx, lost); err != nil {
			return Path{}, err
		}
		if p.fits < lost {
			break
		}
	}
	if p.fits >= size {
		return Path{Answers: true, Fits: true, MTU: size}, nil
	}
	return Path{Answers: true, MTU: p.fits, Limit: p.limit}, nil
}

// search narrows down what fits, below size, and returns the smallest size that
// seems not to, one more than the largest that does.
func (p *prober) search(ctx context.Context, size int) (lost int, err error) {
	lost = size
	if p.tooBig > p.fits {
		lost = p.tooBig
	}
	for lost-p.fits > 1 {
		sizes := spread(p.fits, lost)
		if p.hint > p.fits && p.hint < lost {
			sizes = append(sizes, p.hint, p.hint+1)
		}
		if err := p.round(ctx, sizes); err != nil {
			return lost, err
		}
		for _, s := range append(sizes, p.tooBig) {
			if s > p.fits {
				lost = min(lost, s)
			}
		}
	}
	return lost, nil
}

// insist asks for a size that seems not to fit until it is answered, or one that
// fits was answered often beside it.
func (p *prober) insist(ctx context.Context, lost int) error {
	until := time.Now().Add(pathSilence)
	for passed := 0; passed < pathInsists && p.fits < lost && p.tooBig != lost && time.Now().Before(until); {
		r := p.begin([]int{lost, p.fits})
		if err := p.try(ctx, &r); err != nil {
			return err
		}
		passed += r.answered
	}
	return nil
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

// round sends packets of these sizes, each some times, and waits for what comes.
func (p *prober) round(ctx context.Context, sizes []int) error {
	r, refusals := p.begin(sizes), p.refusals
	for range pathTries {
		if err := p.try(ctx, &r); err != nil {
			return err
		}
		if len(r.waiting) == 0 || p.refusals > refusals {
			break
		}
	}
	return nil
}

// round is what became of some packets: which still wait, and how many were
// answered. Those that are said to be too big wait no longer.
type round struct {
	waiting  map[uint16]int
	answered int
}

func (p *prober) begin(sizes []int) round {
	r := round{waiting: map[uint16]int{}}
	for _, s := range sizes {
		p.last++
		r.waiting[p.last], p.sent[p.last] = s, s
	}
	return r
}

// try sends what waits once, and takes answers for a while.
func (p *prober) try(ctx context.Context, r *round) error {
	sent := time.Now()
	for seq, size := range r.waiting {
		fits, err := p.echo.send(seq, size)
		switch {
		case err != nil && refusal(err) == "":
			return err
		case err != nil:
			if p.refuse(seq, refusal(err)) {
				return nil
			}
		case !fits:
			p.doesNotFit(size)
			delete(r.waiting, seq)
		}
	}
	for len(r.waiting) > 0 {
		a, err := p.echo.receive(ctx, sent.Add(p.pause))
		if err != nil || a == nil {
			return err // the time is up, or all is
		}
		size, ours := p.sent[a.seq]
		switch {
		case a.refused != "":
			if p.refuse(a.seq, a.refused) {
				return nil
			}
			continue
		case !ours:
			continue
		case a.tooBig:
			p.limit, p.hint = a.by, a.mtu
			p.doesNotFit(size)
		default:
			p.fits = max(p.fits, size)
		}
		if _, waits := r.waiting[a.seq]; waits && !a.tooBig {
			r.answered++
			p.pause = max(p.pause, 3*time.Since(sent))
		}
		delete(r.waiting, a.seq)
	}
	return nil
}

// refuse notes that somebody said of a packet that nobody gets to the host, and
// tells whether that is news. It is none once the host answered. And a router
// that looked for the host in vain says it of all packets that came meanwhile.
func (p *prober) refuse(seq uint16, why string) bool {
	if p.fits > 0 || seq <= p.heard {
		return false
	}
	p.refused, p.heard = why, p.last
	p.refusals++
	return true
}

func (p *prober) doesNotFit(size int) {
	if p.tooBig == 0 || size < p.tooBig {
		p.tooBig = size
	}
}
