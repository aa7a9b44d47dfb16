package dnsd

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// keepable is an answer with n bytes of text.
func keepable(tb testing.TB, name string, n int) *answer {
	tb.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	m.Response = true
	for n > 0 {
		m.Answer = append(m.Answer, &dns.TXT{
			Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300},
			Txt: []string{strings.Repeat("x", min(n, 200))},
		})
		n -= 200
	}
	a, err := newAnswer(m, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func keyOf(name string) cacheKey { return newKey(name, dns.TypeTXT, flagRD, false) }

func TestTheCacheIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		size, bytes    int
		entries, least int64
	}{
		"small answers, by number": {2000, 50, 2000, 1900},
		"large answers, by memory": {2000, 4000, 2000 * answerRoom / 4000, 100},
		"a small cache":            {100, 20, 100, 100},
		"one":                      {1, 1, 1, 1},
		"too large to be kept":     {100, 60000, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(tt.size)
			for i := range 3 * tt.size {
				name := fmt.Sprintf("n%d.example", i)
				c.put(keyOf(name), keepable(t, name, tt.bytes), 0)
			}
			entries, bytes := c.size()
			if entries > tt.entries || entries < tt.least || bytes > max(int64(tt.size+cacheShards)*answerRoom, leastRoom) {
				t.Errorf("%d answers in %d bytes, want %d to %d", entries, bytes, tt.least, tt.entries)
			}
			c.flush()
			if entries, bytes := c.size(); entries != 0 || bytes != 0 {
				t.Errorf("after a flush: %d answers in %d bytes", entries, bytes)
			}
		})
	}
}

// The memory that the cache says it takes is what it takes.
func TestTheCacheTakesTheMemoryThatItSays(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	c := newCache(defaultCacheSize)
	for i := range 2 * defaultCacheSize {
		name := fmt.Sprintf("a-name-of-usual-length-%d.example.com", i)
		c.put(keyOf(name), keepable(t, name, 60), 0)
	}
	took := heap() - before
	_, said := c.size()
	if took > said*5/4 || took > 6<<20 {
		t.Errorf("it takes %d bytes and says %d", took, said)
	}
	runtime.KeepAlive(c)
}

func TestWhatWasNotAskedForTheLongestGoesFirst(t *testing.T) {
	c := newCache(3)
	now := time.Now()
	put := func(name string) { c.put(keyOf(name), keepable(t, name, 20), 0) }
	for _, name := range []string{"a", "b", "c"} {
		put(name)
	}
	left := func() string {
		names := ""
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			s := &c.shards[0]
			if s.by[keyOf(name)] != nil {
				names += name
			}
		}
		return names
	}
	c.get(keyOf("a"), now)
	put("d")
	if got := left(); got != "acd" {
		t.Errorf("after d, %s are left", got)
	}
	put("a") // again
	put("e")
	if got := left(); got != "ade" {
		t.Errorf("after e, %s are left", got)
	}
}

func TestNoCache(t *testing.T) {
	c := newCache(-1)
	c.put(keyOf("a"), keepable(t, "a", 10), c.generation())
	c.flush()
	if a, _ := c.get(keyOf("a"), time.Now()); a != nil {
		t.Error("it keeps something")
	}
}

// Everything at once: the race detector watches, and the counts must add up.
func TestTheCacheUnderWay(t *testing.T) {
	c := newCache(2000)
	answers := make([]*answer, 300)
	for i := range answers {
		answers[i] = keepable(t, fmt.Sprintf("n%d", i), i)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				n := (i*7 + g*13) % 5000
				switch {
				case i%1000 == 999:
					c.flush()
				case i%3 == 0:
					c.put(keyOf(fmt.Sprint("n", n)), answers[n%len(answers)], c.generation())
				default:
					c.get(keyOf(fmt.Sprint("n", n)), time.Now())
				}
			}
		})
	}
	wg.Wait()
	entries, bytes := c.size()
	var haveEntries, haveBytes int64
	for i := range c.shards {
		s := &c.shards[i]
		for e := s.root.next; e != &s.root; e = e.next {
			haveEntries++
			haveBytes += int64(e.answer.cost(e.key))
		}
		if len(s.by) > s.maxEntries || s.bytes > s.maxBytes {
			t.Errorf("a part has %d answers in %d bytes", len(s.by), s.bytes)
		}
	}
	if entries != haveEntries || bytes != haveBytes {
		t.Errorf("it says %d answers in %d bytes and has %d in %d", entries, bytes, haveEntries, haveBytes)
	}
}

// A kept answer is given the short way, byte by byte what the long way gives.
func TestKeptAnswersTakeTheShortWay(t *testing.T) {
	s := newServer(t, Config{}, theNames())
	s.forwards.servers = func() []netip.AddrPort { return []netip.AddrPort{theFirst} }
	now := time.Now()
	short := 0
	for _, up := range upstreamAnswers(new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)) {
		for _, c := range askers(t) {
			if c.limit > maxUDP {
				continue // over TCP all take the long way
			}
			m := up.Copy()
			a, err := newAnswer(m, now)
			if err != nil {
				t.Fatal(err)
			}
			s.forwards.cache.flush()
			if a.life == 0 {
				continue
			}
			s.forwards.cache.put(c.key, a, s.forwards.cache.generation())
			packet, err := c.req.Pack()
			if err != nil {
				t.Fatal(err)
			}
			in := append(make([]byte, 0, maxUDP), packet...)
			look := s.lookup()
			if s.quick(look, in, netip.MustParseAddr(local), netip.MustParseAddr(local)) != 0 || !look.beyond {
				t.Fatalf("%v is answered from the names", c.req)
			}
			n := s.forwards.quick(in, &look.plain, now)
			if n == 0 {
				if !strings.EqualFold(string(in), string(packet)) {
					t.Fatalf("the short way left %x as %x", packet, in)
				}
				continue
			}
			short++
			long := make([]byte, maxUDP)
			if want := s.forwards.fill(long, c, a, now); string(in[:n]) != string(long[:want]) {
				t.Errorf("%v\nthe short way: %v\nthe long way: %v", c.req, unpack(t, in[:n]), unpack(t, long[:want]))
			}
		}
	}
	if short == 0 {
		t.Error("nothing took the short way")
	}
}
