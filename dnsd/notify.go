package dnsd

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Times of telling secondaries of changes; variables for tests.
var (
	// notifyEvery is how often the serial is looked at, and so how long several
	// changes are told as one.
	notifyEvery = time.Second
	// notifyPause is between two tellings, however much changes.
	notifyPause = 5 * time.Second
	// notifyWait is how long a secondary may take to say that it heard.
	notifyWait = 2 * time.Second
	// notifyRetry is when one that did not is told again for the first time; it
	// doubles each time, up to notifyLongest.
	notifyRetry   = 2 * time.Second
	notifyLongest = time.Minute
)

// notify tells the secondary at the address of every change of our zones (RFC
// 1996), the first time when the names are known. One that is silent is told
// again, by and by less often, until it has heard of the last change.
func (s *Server) notify(ctx context.Context, at netip.AddrPort) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() //nolint:contextcheck // Close ends it, too
	var heard uint32
	known, silent := false, false
	retry := notifyRetry
	for wait := notifyEvery; s.pause(wait) && ctx.Err() == nil; {
		wait = notifyEvery
		names := s.names()
		if names == nil || known && names.Serial() == heard {
			continue
		}
		serial := names.Serial()
		if err := s.tellAll(ctx, at, serial); err != nil {
			if !silent {
				s.log.Warn("DNS cannot tell a secondary of a change; it is told again", "addr", at, "err", err)
			}
			silent, wait, retry = true, retry, min(2*retry, notifyLongest)
			continue
		}
		if silent {
			s.log.Info("DNS secondary hears again", "addr", at)
		}
		heard, known, silent, wait, retry = serial, true, false, notifyPause, notifyRetry
	}
}

// tellAll tells one secondary of all zones. Whatever it answers, it heard: a
// zone that it does not have is its own affair.
func (s *Server) tellAll(ctx context.Context, at netip.AddrPort, serial uint32) error {
	for _, zone := range s.zones() {
		m := new(dns.Msg).SetNotify(zone + ".")
		m.Answer = []dns.RR{s.zone.soa(zone+".", serial)}
		wait, cancel := context.WithTimeout(ctx, notifyWait)
		c := dns.Client{Net: "udp", Timeout: notifyWait}
		_, _, err := c.ExchangeContext(wait, m, at.String())
		cancel()
		if err != nil {
			return err
		}
		s.count.notified.Add(1)
	}
	return nil
}

// zones are the names of all our zones.
func (s *Server) zones() []string {
	zones := []string{s.zone.name}
	seen := map[string]bool{}
	for _, p := range *s.access.served.Load() {
		for _, zone := range reverseZones(p) {
			if !seen[zone] {
				seen[zone] = true
				zones = append(zones, zone)
			}
		}
	}
	return zones
}
