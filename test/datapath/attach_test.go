package datapath

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

func BenchmarkAttachSettle(b *testing.B) {
	w := newWorld(b)
	n := w.network(7, withGateways("10.0.0.1/16"))
	var attach, settle []time.Duration
	i := 0
	for b.Loop() {
		i++
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		ep := w.endpoint(n, a.String())
		t0 := time.Now()
		if _, err := w.fab.Attach(b.Context(), ep); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		if err := w.fab.Settle(b.Context(), ep.ID); err != nil {
			b.Fatal(err)
		}
		t2 := time.Now()
		attach, settle = append(attach, t1.Sub(t0)), append(settle, t2.Sub(t0))
		if err := w.fab.Detach(b.Context(), ep.ID); err != nil {
			b.Fatal(err)
		}
		// As between two containers: the engine takes some 200 ms.
		time.Sleep(100 * time.Millisecond)
	}
	b.ReportMetric(median(attach), "attach-ms")
	b.ReportMetric(median(settle), "settled-ms")
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}

func TestHundredContainersAtOnce(t *testing.T) {
	w := newWorld(t)
	n := w.network(7)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range 100 {
		ep := w.endpoint(n, fmt.Sprintf("10.0.1.%d", i+1), fmt.Sprintf("fd00::1:%x", i+1))
		wg.Go(func() {
			if _, err := w.fab.Attach(t.Context(), ep); err != nil {
				t.Error(err)
				return
			}
			if err := w.fab.Settle(t.Context(), ep.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("100 containers in %s", time.Since(began).Round(time.Millisecond))
	if got := w.fab.Status().Ports; got != 100 {
		t.Errorf("ports: %d, want 100", got)
	}
}
