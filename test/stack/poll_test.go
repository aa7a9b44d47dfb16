package stack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dockstack/dockstack/test/lab"
)

// poller asks a URL ten times a second from inside a container's network, without waiting for answers.
type poller struct {
	t      *testing.T
	client *http.Client
	url    string
	// retries is how often a request is repeated that failed, as clients do.
	retries int
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	answers []time.Time // when
	failed  []string
}

// pollEvery is how often a poller asks, and pollLimit how long it waits for an answer: longer than anything that should
// be, so that what is lost counts as lost.
const (
	pollEvery = 100 * time.Millisecond
	pollLimit = 30 * time.Second
)

// poll starts a poller in the network of a container. It ends with the test.
func poll(t *testing.T, h *lab.Host, container, url string, retries int) *poller {
	t.Helper()
	pid, err := h.Docker(t.Context(), "inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		t.Fatal(err)
	}
	ns := h.Path("/proc/" + strings.TrimSpace(pid) + "/ns/net")
	ctx, stop := context.WithCancel(context.Background())
	p := &poller{t: t, url: url, retries: retries, stop: stop, client: &http.Client{
		Timeout: pollLimit,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(_ context.Context, _, addr string) (net.Conn, error) { return dialIn(ns, addr) },
		},
	}}
	t.Cleanup(func() { stop(); p.wg.Wait() })
	p.wg.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.wg.Go(p.ask)
			}
		}
	})
	return p
}

func (p *poller) ask() {
	began := time.Now()
	status, err := p.get()
	for range p.retries {
		if err == nil && status == http.StatusOK {
			break
		}
		time.Sleep(pollEvery)
		status, err = p.get()
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.failed = append(p.failed, fmt.Sprintf("asked %s, after %.1f s: %v", began.Format("15:04:05.0"), now.Sub(began).Seconds(), err))
	case status != http.StatusOK:
		p.failed = append(p.failed, fmt.Sprintf("asked %s, after %.1f s: status %d", began.Format("15:04:05.0"), now.Sub(began).Seconds(), status))
	default:
		p.answers = append(p.answers, now)
	}
}

func (p *poller) get() (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url, nil)
	if err != nil {
		return 0, err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode, err
}

// since forgets what was before.
func (p *poller) since() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers, p.failed = []time.Time{time.Now()}, nil
}

// gap is the longest time without an answer since then, and failures are the requests that had none or a bad one.
func (p *poller) gap() (longest time.Duration, failures []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := append(slices.SortedFunc(slices.Values(p.answers), time.Time.Compare), time.Now())
	for i := range all[1:] {
		longest = max(longest, all[i+1].Sub(all[i]))
	}
	return longest, slices.Clone(p.failed)
}

// steady waits until answers have come for three seconds without a pause that is half a second longer than control's.
func (p *poller) steady(control *poller, limit time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(limit); ; {
		p.since()
		control.since()
		time.Sleep(3 * time.Second)
		gap, failed := p.gap()
		slow, _ := control.gap()
		if gap < slow+500*time.Millisecond && len(failed) == 0 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s does not answer steadily within %s: a pause of %s, and %q", p.url, limit, gap, failed)
		}
	}
}
