package page_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/page/pagetest"
	"github.com/dockstack/dockstack/test/browser"
)

func TestPhone(t *testing.T) {
	for _, scene := range []struct {
		name  string
		world *pagetest.World
	}{{"openstack", pagetest.OpenStack(3)}, {"broken", pagetest.Broken()}, {"large", pagetest.Large()}, {"hostile", hostile()}} {
		t.Run(scene.name, func(t *testing.T) {
			s := serveSite(t, scene.world)
			v := visit(browser.Start(t), t, s.URL, size(390, 844, 2), colours("light"), browser.Command(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true}))
			v.fits("the page on a phone")
			if eval[bool](v, `[...document.querySelectorAll('.maps .c')].length > 0 && getComputedStyle(document.querySelector('.chart.wide')).display !== 'none'`) {
				t.Error("a phone shows the wide picture of the hosts")
			}
			if small := eval[[]string](v, `[...document.querySelectorAll('main p, main td, main th, main li, main label')].filter((e) => e.getClientRects().length && parseFloat(getComputedStyle(e).fontSize) < 11).map((e) => e.textContent)`); len(small) > 0 {
				t.Errorf("text is too small to read on a phone: %q", small)
			}
			v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('details.table').open = true`))
			v.fits("the page with the table of hosts")
			v.content(s.URL)
		})
	}
}

func TestDarkMode(t *testing.T) {
	s := serveSite(t, pagetest.Broken())
	chromium := browser.Start(t)
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			tab, closeTab := chromedp.NewContext(chromium)
			defer closeTab()
			v := visit(tab, t, s.URL, size(1360, 900, 1), colours(scheme))
			if dark := eval[float64](v, luminanceJS+`luminance(getComputedStyle(document.body).backgroundColor)`) < 0.2; dark != (scheme == "dark") {
				t.Errorf("with the scheme %s the page is dark: %v", scheme, dark)
			}
			if poor := eval[[]string](v, contrastJS); len(poor) > 0 {
				t.Errorf("text with too little contrast (AA is 4.5, 3 for large):\n%s", strings.Join(poor, "\n"))
			}
			v.content(s.URL)
		})
	}
}

const luminanceJS = `
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return c.startsWith('color(srgb') ? [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
	const luminance = (c) => { const [r, g, b] = parse(c).slice(0, 3).map((x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
`

// contrastJS lists all texts whose colour is too near to what is behind them.
const contrastJS = `(() => {` + luminanceJS + `
	const behind = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c[3] > 0) { layers.push(c); if (c[3] === 1) break; }
		}
		let out = [255, 255, 255];
		for (const [r, g, b, a] of layers.reverse()) out = [r*a + out[0]*(1-a), g*a + out[1]*(1-a), b*a + out[2]*(1-a)];
		return 'rgb(' + out.join(',') + ')';
	};
	const poor = [];
	for (const e of document.querySelectorAll('body *')) {
		if (e.closest('svg, script, [hidden], .unseen, .skip, option') || !e.getClientRects().length) continue;
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
		const s = getComputedStyle(e), size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && s.fontWeight >= 700;
		const a = luminance(s.color), b = luminance(behind(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < (large ? 3 : 4.5)) poor.push(ratio.toFixed(2) + ' ' + e.tagName + '.' + e.className + ': ' + e.textContent.trim().slice(0, 40));
	}
	return [...new Set(poor)].slice(0, 20);
})()`

// TestHostileNames: whatever a name has in it is shown and does nothing.
func TestHostileNames(t *testing.T) {
	s := serveSite(t, hostile())
	v := visit(browser.Start(t), t, s.URL+"?q=%3Cscript%3Ealert(1)%3C/script%3E&net=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E", desktop()...)
	v.do(chromedp.Navigate(s.URL))
	v.wait("the stream has told something", `document.querySelector('#live').classList.contains('on')`)
	time.Sleep(1500 * time.Millisecond) // another round of the stream, which goes another way into the page
	if bad := eval[[]string](v, `[...document.querySelectorAll('main script, main img, main iframe, main [onerror], main [onclick], main [style], main b[id=pwned]')].map((e) => e.outerHTML)`); len(bad) > 0 {
		t.Errorf("a name became markup: %q", bad)
	}
	if eval[bool](v, `'pwned' in window && window.pwned === 1`) {
		t.Error("a name was executed")
	}
	text := eval[string](v, `document.body.textContent`)
	for _, name := range hostileNames {
		want := admin.Plain(name)
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.ContainsAny(text, "\u202e\u2066\u200f\x00\x1b") {
		t.Error("a character that turns text around, or a control character, is on the page")
	}
	if strings.Contains(eval[string](v, `document.documentElement.outerHTML`), "hunter2") {
		t.Error("a password is on the page")
	}
	v.content(s.URL)
}

var hostileNames = []string{
	`<script>window.pwned=1</script>`, `"><img src=x onerror="window.pwned=1">`, `'onmouseover='window.pwned=1`, "</title></svg><b id=pwned>",
	"evil\u202egnp.exe", "\u2066isolated\u200f", "\x1b[31mred\x00", "javascript:window.pwned=1", "שלום", "&lt;&amp;", "{{.}}", "`ls`", "\xff\xfe",
}

// hostile is a daemon whose names were chosen by somebody who means ill.
func hostile() *pagetest.World {
	w := pagetest.OpenStack(3)
	w.Change(func(s *admin.Status, leases *[]admin.Lease) {
		for i, name := range hostileNames {
			l := &(*leases)[i]
			l.Name, l.Host, l.MAC = name, name, name
			s.Problems = append(s.Problems, name)
			s.Switch.Tunnel.Faults = append(s.Switch.Tunnel.Faults, name)
			s.DNS.Forwarders = append(s.DNS.Forwarders, name)
		}
		s.Pools[0].Network, s.Pools[0].Overlay = hostileNames[0], hostileNames[1]
		s.Pools[2].Network = hostileNames[4]
		s.Hosts[1].Name, s.Hosts[1].Version = hostileNames[1], hostileNames[0]
		s.DNS.Zone, s.DNS.Listeners[0].Error = hostileNames[2], hostileNames[3]
		s.Engine, s.Version = hostileNames[5], hostileNames[6]
		s.Store.Where = "etcd://root:hunter2@10.0.0.1:2379"
		s.Store.Away = "dial etcd://root:hunter2@10.0.0.1:2379: password=hunter2 refused"
		s.Switch.Datapath, s.Switch.Version = hostileNames[0], hostileNames[1]
	})
	for _, name := range hostileNames {
		w.Tell(admin.Event{Kind: admin.EventNew, Name: name, Network: name, Host: name, Text: name + " got an address"})
	}
	return w
}

// TestWithoutJavaScript: all is there, and forms and links work.
func TestWithoutJavaScript(t *testing.T) {
	s := serveSite(t, pagetest.OpenStack(3))
	chromium := browser.Start(t)
	v := &visitor{t: t, ctx: chromium}
	v.do(size(1360, 900, 1), colours("light"), browser.Command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), chromedp.Navigate(s.URL))
	// says waits until a part has a text: nodes go while the browser goes elsewhere.
	says := func(sel, want string) string {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			out, err := chromedp.Run(chromium, chromedp.TextContent(sel))
			if err == nil && strings.Contains(out, want) {
				return out
			}
			if time.Now().After(end) {
				t.Fatalf("without JavaScript %s says %q (%v), want %q", sel, out, err, want)
			}
		}
	}
	says("#health", "All is well")
	v.do(chromedp.SendKeys(`#names input[name=q]`, "keystone3"), chromedp.Click(`#names button[type=submit]`))
	says("#names-count", " of ")
	if got := says("table.names tbody", "keystone3"); strings.Contains(got, "galera") {
		t.Errorf("without JavaScript a search shows %q", got)
	}
	v.do(chromedp.Click(`.cards li:nth-child(3) a`))
	says(".detail h3", "storage")
	says(".card:nth-child(3).selected", "storage")
}

// TestPrint: on paper there is no chrome of the page's.
func TestPrint(t *testing.T) {
	s := serveSite(t, pagetest.OpenStack(3))
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	v.do(browser.Command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	if seen := eval[[]string](v, `['nav[aria-label=Sections]', 'form.search', '.pager'].filter((q) => getComputedStyle(document.querySelector(q)).display !== 'none')`); len(seen) > 0 {
		t.Errorf("printed for nothing: %q", seen)
	}
	pdf, err := chromedp.Run(v.ctx, chromedp.PrintToPDF())
	if err != nil || len(pdf) < 10_000 {
		t.Errorf("the page can't be printed: %d bytes, %v", len(pdf), err)
	}
}

// TestReadAloud: what a screen reader needs is there.
func TestReadAloud(t *testing.T) {
	s := serveSite(t, pagetest.Broken())
	v := visit(browser.Start(t), t, s.URL, desktop()...)
	missing := eval[[]string](v, `(() => {
		const out = [];
		const named = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim();
		for (const e of document.querySelectorAll('a, button, summary, nav, section, [role=img], [role=group], svg:not([aria-hidden])')) if (!named(e)) out.push('no name: ' + e.outerHTML.slice(0, 90));
		for (const e of document.querySelectorAll('input:not([type=hidden]), select')) if (!e.labels.length) out.push('no label: ' + e.name);
		for (const e of document.querySelectorAll('section')) if (!document.getElementById(e.getAttribute('aria-labelledby'))) out.push('no title: ' + e.id);
		for (const e of document.querySelectorAll('th')) if (!e.scope) out.push('no scope: ' + e.textContent);
		const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
		for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) out.push('twice: ' + id);
		let last = 1;
		for (const h of document.querySelectorAll('h1, h2, h3, h4')) { const n = +h.tagName[1]; if (n > last + 1) out.push('a level is left out before ' + h.textContent); last = n; }
		if (document.documentElement.lang !== 'en') out.push('no language');
		return out;
	})()`)
	if len(missing) > 0 {
		t.Errorf("a screen reader misses:\n%s", strings.Join(missing, "\n"))
	}
	v.content(s.URL)
}
