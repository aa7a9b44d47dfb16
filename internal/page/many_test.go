package page_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/page/pagetest"
	"github.com/dockstack/dockstack/test/browser"
)

const many = 100_000

// TestManyNames: with 100,000 names a page is as small as with a hundred, and a
// browser finds any of them.
func TestManyNames(t *testing.T) {
	world := pagetest.Many(many)
	s := serveSite(t, world)
	body := get(server("127.0.0.1:8053", world), "localhost", "/").Body
	if n := body.Len(); n > 600_000 {
		t.Errorf("a page of %d names has %d bytes", many, n)
	}
	t.Logf("a page of %d names has %d bytes", many, body.Len())
	v := visit(browser.Start(t), t, s.URL+"?q="+url.QueryEscape("worker-099"), desktop()...)
	if got := eval[string](v, `document.querySelector('#names-count').textContent`); !strings.Contains(got, "1000 of 100") {
		t.Errorf("the search finds %q", got)
	}
	if n := eval[int](v, `document.querySelectorAll('*').length`); n > 12_000 {
		t.Errorf("the browser holds %d elements", n)
	}
	v.content(s.URL)
}

// BenchmarkPage: the whole page, its parts, and a search, with 100,000 names.
func BenchmarkPage(b *testing.B) {
	s := server("127.0.0.1:8053", pagetest.Many(many))
	for _, path := range []string{"/?q=worker", "/part/health?q=", "/part/names?q=worker-0", "/part/names?sort=since&q=w", "/part/space?block=10.0.0.0/24&q="} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++ // so that nothing comes from the cache
				if w := get(s, "localhost", fmt.Sprintf("%s%d", path, n%10)); w.Code != 200 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
