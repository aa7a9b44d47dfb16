package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/dockstack/dockstack/internal/kv/kvtest"
)

// TestPage: the status page and the metrics of a daemon say what its registry has,
// and follow it.
func TestPage(t *testing.T) {
	memory := kvtest.NewMemory()
	first := newNode(t, "node1")
	first.sharesMemory(memory)
	o := opens(t, first)
	second := newNode(t, "node2")
	second.sharesMemory(memory)
	second.start()
	second.mustBeReady()
	o.network()
	second.network()
	at := o.node.runs("db")
	far := second.runs("far")

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.p.cfg.page = netip.MustParseAddrPort(l.Addr().String())
	o.p.buildPage()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { o.p.servePage(ctx) })
	defer func() { cancel(); wg.Wait() }()
	// While somebody else has the port, the status says so.
	o.until("the status misses the page", func() bool { return strings.Contains(o.does("status"), "the status page is not served") })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.until("the status is content", func() bool { return !strings.Contains(o.does("status"), "the status page") })

	read := func(path string) string {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.p.cfg.page.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err.Error()
		}
		body, err := io.ReadAll(answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err.Error()
		}
		return string(body)
	}
	shows := func(path string, words ...string) {
		t.Helper()
		got := ""
		for _, word := range words {
			o.until(path+" says "+word, func() bool { got = read(path); return strings.Contains(got, word) })
		}
	}
	shows("/", "node1", "node2", at, far, "db", "2 alive")
	shows("/part/names?host=node2", far)
	if got := read("/part/names?host=node2"); strings.Contains(got, at) {
		t.Errorf("the names of node2 have one of node1")
	}
	shows("/metrics", `dockstack_host_info{host="node1",id="`+o.id()+`"} 1`, "\ndockstack_hosts 2\n", `state="live",subnet="`+subnet+`"} 2`)
	o.ends("db", at)
	shows("/metrics", `state="live",subnet="`+subnet+`"} 1`)
	shows("/part/names?q=db", "parked")
	shows("/part/events", at)
	o.does("reserve cache 172.16.0.77")
	shows("/part/space", "172.16.0.77 · cache · parked, reserved")
}
