package page_test

import (
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dockstack/dockstack/internal/page/pagetest"
	"github.com/dockstack/dockstack/test/browser"
)

// TestShots takes a picture of each kind of site in each kind of window, for
// people to look at: with DOCKSTACK_SHOTS=DIR they stay there.
func TestShots(t *testing.T) {
	dir := shotsDir(t)
	scenes := []struct {
		name  string
		world func() *pagetest.World
	}{
		{"empty", pagetest.Empty},
		{"alone", pagetest.Alone},
		{"openstack", func() *pagetest.World { return pagetest.OpenStack(3) }},
		{"broken", pagetest.Broken},
		{"hosts20", func() *pagetest.World { return pagetest.OpenStack(20) }},
		{"hosts200", pagetest.Large},
	}
	windows := []struct {
		name   string
		before []browser.Step
	}{
		{"light", []browser.Step{size(1360, 900, 1), colours("light")}},
		{"dark", []browser.Step{size(1360, 900, 1), colours("dark")}},
		{"phone", []browser.Step{size(390, 844, 2), colours("light")}},
	}
	chromium := browser.Start(t)
	for _, scene := range scenes {
		s := serveSite(t, scene.world())
		for _, window := range windows {
			t.Run(scene.name+"-"+window.name, func(t *testing.T) {
				tab, closeTab := chromedp.NewContext(chromium)
				defer closeTab()
				v := visit(tab, t, s.URL, window.before...)
				v.fits(scene.name)
				v.shoot(filepath.Join(dir, scene.name+"-"+window.name+".png"))
				v.content(s.URL)
			})
		}
	}
}
