package fabric

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A link that somebody set down, or whose MTU somebody lowered, is put right by
// the next audit, and at once by a resync; Wanted says how links are to be.
func TestLinksThatSomebodySetDown(t *testing.T) {
	for name, spoil := range map[string]func(*Link){
		"set down":        func(l *Link) { l.Down = true },
		"its MTU lowered": func(l *Link) { l.MTU = 1300 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				n := Network{ID: "net7", VNI: 7, MTU: 1450, Gateways: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
				if err := r.fab.PutNetwork(r.Context(), n); err != nil {
					r.Fatal(err)
				}
				ep := endpointOf(n, 2)
				r.attach(ep)
				synctest.Wait()
				w, err := r.fab.Wanted(r.Context())
				if err != nil {
					r.Fatal(err)
				}
				inner := "o-ds" + hashed(n.ID)
				for _, link := range []string{"dse" + hashed(ep.ID), "dsg" + hashed(n.ID), inner} {
					if w.Raised[link] != n.MTU {
						r.Errorf("%s is to be up with %d, wanted says %v", link, n.MTU, w.Raised)
					}
					for by, mend := range map[string]func(){
						"an audit": func() { time.Sleep(11 * time.Second) },
						"a resync": func() {
							if err := r.fab.Resync(r.Context()); err != nil {
								r.Error(err)
							}
						},
					} {
						r.links.change(link, spoil)
						mend()
						if l, there, _ := r.links.Find(link); !there || l.Down || l.MTU != n.MTU {
							r.Errorf("%s after %s: %+v, %v", link, by, l, there)
						}
					}
				}
			})
		})
	}
}

// What the network's MTU is not smaller than stays: it does no harm.
func TestLargerMTUStays(t *testing.T) {
	inBubble(t, func(r *rig) {
		n := r.network(7)
		ep := endpointOf(n, 2)
		r.attach(ep)
		link := "dse" + hashed(ep.ID)
		r.links.change(link, func(l *Link) { l.MTU = 9000 })
		time.Sleep(time.Minute)
		if l, _, _ := r.links.Find(link); l.MTU != 9000 {
			r.Errorf("it is %+v", l)
		}
	})
}
