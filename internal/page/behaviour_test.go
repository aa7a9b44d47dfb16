package page_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/page/pagetest"
	"github.com/dockstack/dockstack/test/browser"
)

// desktop is a usual window.
func desktop() []browser.Step { return []browser.Step{size(1360, 900, 1), colours("light")} }

func (v *visitor) click(selector string) {
	v.t.Helper()
	v.do(chromedp.Click(selector))
}

func (v *visitor) hover(selector string) {
	v.t.Helper()
	at := eval[[]float64](v, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({block: 'center', behavior: 'instant'});
		window.still = false;
		requestAnimationFrame(() => requestAnimationFrame(() => { window.still = true; }));
		const r = e.getBoundingClientRect();
		return [r.x + r.width/2, r.y + r.height/2];
	})()`, selector))
	// A tip goes when the page scrolls, which is told with a frame.
	v.wait("the page has scrolled", `window.still`)
	v.do(browser.Command(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at[0], Y: at[1]}))
}

func TestSearch(t *testing.T) {
	s := serveSite(t, pagetest.OpenStack(3))
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	rows := `document.querySelectorAll('table.names tbody tr').length`
	if n := eval[int](v, rows); n != 50 {
		t.Fatalf("%d names stand on the first page, want 50", n)
	}
	v.do(chromedp.SendKeys(`#names input[name=q]`, "rabbitmq2 internal"))
	v.wait("the search found the two addresses of rabbitmq2", rows+` === 2`)
	v.wait("the address of the page says what is looked for", `new URLSearchParams(location.search).get('q') === 'rabbitmq2 internal'`)
	v.wait("somebody who does not see it is told how many there are", `document.querySelector('#said').textContent.includes('2 of')`)
	// A push from the daemon neither ends the search nor takes away what is typed.
	time.Sleep(1500 * time.Millisecond)
	if got := eval[string](v, `document.querySelector('#names input[name=q]').value + '/' + `+rows); got != "rabbitmq2 internal/2" {
		t.Errorf("after the stream began anew the search is %q", got)
	}
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#names input[name=q]').select()`), chromedp.KeyEvent("nothing-has-this-name"))
	v.wait("there is a way back where nothing is found", `document.querySelector('#names .empty a')`)
	v.click(`#names .empty a`)
	v.wait("all names are back", rows+` === 50 && document.querySelector('#names input[name=q]').value === ''`)
	v.click(`#names a[rel=next]`)
	v.wait("the second page of names is there", `document.querySelector('#names .pager span:nth-of-type(1)').textContent.startsWith('51')`)
	v.do(chromedp.NavigateBack())
	v.wait("the browser's own back button goes back", `document.querySelector('#names .pager').textContent.includes('1–50')`)
	v.click(`#hosts table a[href*="host2"]`)
	v.wait("a host's link shows its names", `[...document.querySelectorAll('table.names [data-label=Host]')].every((e) => e.textContent === 'host2') && document.querySelector('#names select[name=host]').value === 'host2'`)
	v.content(s.URL)
}

func TestMap(t *testing.T) {
	s := serveSite(t, pagetest.OpenStack(3))
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	cell := `.maps figure:last-of-type .c[aria-label^="172.16.0.3 "]`
	v.hover(cell)
	v.wait("the tip says who has the address", `!document.querySelector('#tip').hidden && /172\.16\.0\.3.*galera1.*live.*on host1.*since/.test(document.querySelector('#tip').textContent)`)
	if got := eval[bool](v, `(() => { const r = document.querySelector('#tip').getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight; })()`); !got {
		t.Error("the tip is not within the window")
	}
	v.hover(`.maps figure:last-of-type .c[aria-label^="172.16.0.254 "]`)
	v.wait("the tip of a VIP says that it is set aside", `document.querySelector('#tip').textContent.includes('set aside')`)
	v.hover(`h2#names-title`)
	v.wait("the tip goes with the pointer", `document.querySelector('#tip').hidden`)

	// With keys alone: one stop of the tab key, then arrows.
	v.do(chromedp.Focus(`.maps figure:last-of-type .c[tabindex="0"]`))
	press := func(key string) { v.do(chromedp.KeyEvent(key)) }
	for range 3 {
		press("\u0303") // right
	}
	label := `document.activeElement.getAttribute('aria-label')`
	if got := eval[string](v, label); !strings.HasPrefix(got, "172.16.0.3 ") {
		t.Errorf("three keys to the right lead to %q", got)
	}
	press("\u0301") // down
	if got := eval[string](v, label); !strings.HasPrefix(got, "172.16.0.19 ") {
		t.Errorf("a key down leads to %q", got)
	}
	if n := eval[int](v, `document.querySelectorAll('.maps figure:last-of-type .c[tabindex="0"]').length`); n != 1 {
		t.Errorf("the map has %d stops of the tab key, want 1", n)
	}
	press("\r")
	v.wait("the key leads to the name", `document.querySelectorAll('table.names tbody tr').length === 1 && document.querySelector('table.names').textContent.includes('172.16.0.19')`)
	v.wait("the page has gone there", `document.activeElement.id === 'names-title'`)

	// Into another block, and another network.
	v.click(`.maps figure:first-of-type .c[aria-label^="172.16.7.0/24"]`)
	v.wait("the block is shown", `document.querySelector('.crumbs [aria-current]').textContent === '172.16.7.0/24' && document.querySelector('.maps figure:last-of-type .c').getAttribute('aria-label').startsWith('172.16.7.0 ')`)
	v.click(`.cards li:nth-child(2) a`)
	v.wait("the IPv6 network is shown by its used part", `document.querySelector('.detail .mono').textContent === 'fd00:16::/64' && document.querySelector('.crumbs').textContent.includes('fd00:16::/120')`)
	v.content(s.URL)
}

func TestLiveUpdate(t *testing.T) {
	world := pagetest.OpenStack(3)
	s := serveSite(t, world)
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	v.do(chromedp.SendKeys(`#names input[name=q]`, "zzz-new"))
	v.wait("nothing has the new name yet", `document.querySelector('#names .empty')`)
	v.click(`details.table summary`)
	v.wait("the table of hosts is closed", `!document.querySelector('details.table').open`)
	world.Change(func(_ *admin.Status, leases *[]admin.Lease) {
		l := (*leases)[0]
		for _, other := range *leases {
			if other.Pool == "172.16.0.0/16" {
				l = other
			}
		}
		l.Name, l.Address = "zzz-new", netip.MustParseAddr("172.16.0.201")
		*leases = append(*leases, l)
	})
	world.Tell(admin.Event{Kind: admin.EventNew, Name: "zzz-new", Text: "zzz-new got 172.16.0.201 in internal"})
	v.wait("the new name is found without anybody's doing", `document.querySelector('table.names')?.textContent.includes('172.16.0.201')`)
	v.wait("the map has it", `document.querySelector('.maps .c[aria-label^="172.16.0.201 "]').classList.contains('live')`)
	v.wait("the event is told", `document.querySelector('.events li').textContent.includes('zzz-new got')`)
	if eval[bool](v, `document.querySelector('details.table').open`) {
		t.Error("an update opened what the user had closed")
	}
	world.Change(func(st *admin.Status, _ *[]admin.Lease) {
		st.Switch.Up, st.Switch.Error = false, "ovs-vswitchd does not answer"
	})
	v.wait("the trouble is at the top", `document.querySelector('#health .findings .bad')?.textContent.includes('ovs-vswitchd does not answer')`)
	v.wait("the tab says so too", `document.title.includes('1 thing to mend') && document.querySelector('#icon').href.includes('bad.svg')`)
	v.content(s.URL)
}

func TestDaemonGoneAndBack(t *testing.T) {
	world := pagetest.OpenStack(3)
	s := serveSite(t, world)
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	s.stop()
	v.wait("the page says that the daemon is gone, since when, and what it does about it", `(() => {
		const l = document.querySelector('#lost');
		return !l.hidden && /not reached\s+since \d+:\d+/.test(l.textContent) && /Trying (again in \d+ s|now)/.test(l.textContent) && document.title.startsWith('not reached') && document.body.classList.contains('stale');
	})()`)
	if got := eval[int](v, `document.querySelectorAll('table.names tbody tr').length`); got != 50 {
		t.Errorf("what was known is gone from the page: %d names", got)
	}
	world.Change(func(st *admin.Status, _ *[]admin.Lease) { st.Problems = []string{"clocks differ"} })
	s.restart()
	v.wait("the page goes on by itself", `document.querySelector('#lost').hidden && document.querySelector('#live').classList.contains('on') && !document.body.classList.contains('stale')`)
	v.wait("it shows what is now", `document.querySelector('#health').textContent.includes('clocks differ') && document.title.includes('1 thing to mend')`)
}

// TestManyOpenPages: where no stream is to be had, the page asks from time to
// time, and says so.
func TestManyOpenPages(t *testing.T) {
	s := serveSite(t, pagetest.Alone())
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	v.do(chromedp.Navigate("about:blank"))
	for held := 0; held < 16; {
		if holdStream(t, s.URL) == 200 {
			held++
		}
	}
	v.do(chromedp.Navigate(s.URL))
	v.wait("the page asks now and then", `document.querySelector('#live-text').textContent.startsWith('asks every 10 s') && document.querySelector('#lost').hidden`)
}
