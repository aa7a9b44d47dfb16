package stack

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// dashboard is the smallest stack with Horizon.
var dashboard = What{"dashboard", []Group{
	{Files: []string{"database", "keystone", "glance"}, Host: 1},
	{Files: []string{"horizon"}, Host: 2},
}}

// common reads compose/common.env.
func (s *Stack) common(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(s.Root, "compose", "common.env"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	vars := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			vars[key] = value
		}
	}
	return vars
}

// TestHorizon logs in as a person does, in a browser, and looks at what is there: first without Nova and Neutron,
// then with them. A reboot takes the sessions with memcached, so whoever was in logs in again, and finds the same.
func TestHorizon(t *testing.T) {
	Full(t)
	s := ForTest(t, Options{})
	ctx := t.Context()
	if err := s.UpAll(ctx, dashboard); err != nil {
		t.Fatal(err)
	}
	origin := "http://" + forward(t, s.Host(1), "80")
	v := browse(t)
	v.refused(origin)
	v.logIn(origin, "/project/api_access/", s.common(t))
	v.look(origin+"/identity/", "horizon-projects", `document.querySelector("table").innerText.includes("service")`)
	v.look(origin+"/project/images", "horizon-images", `document.body.innerText.includes("Create Image")`)

	if err := s.Up(ctx, s.Host(1), []string{"nova", "neutron"}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Picture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v.logIn(origin, "/project/", s.common(t))
	v.look(origin+"/project/", "horizon-overview", `document.body.innerText.includes("Limit Summary") && document.querySelector("svg, .pie-chart-usage")`)
	v.look(origin+"/admin/info/", "horizon-services", `document.body.innerText.includes("http://nova:8774")`)

	if err := StormNamed("reboot of all hosts at once").Do(ctx, s, dashboard); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx, wellLimit); err != nil {
		t.Fatal(err)
	}
	s.Same(t, "Horizon and the rest after a reboot", before)
	v.logIn(origin, "/project/", s.common(t))
	v.content(origin)
}

// refused is somebody whom Keystone does not know.
func (v *visitor) refused(origin string) {
	v.t.Helper()
	began := time.Now()
	v.do(chromedp.Navigate(origin + "/"))
	v.wait("the login page is there", `location.pathname == "/auth/login/" && document.querySelector("#id_password")`)
	v.t.Logf("login page after %.1f s: %q", time.Since(began).Seconds(), eval[string](v, `document.title`))
	v.styled()
	v.shoot("horizon-login")
	v.submit("nobody", "nothing")
	v.wait("strangers are refused", `document.body.innerText.includes("Invalid credentials")`)
}

// submit fills in the login form.
func (v *visitor) submit(user, password string) {
	v.t.Helper()
	v.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#id_username").value = ""`),
		chromedp.SendKeys("#id_username", user), chromedp.SendKeys("#id_password", password), chromedp.Click("#loginBtn"))
}

// logIn ends the session that there may be, and begins one as the administrator, who is then led home.
func (v *visitor) logIn(origin, home string, vars map[string]string) {
	v.t.Helper()
	v.do(chromedp.Navigate(origin + "/auth/logout/"))
	v.wait("the login page is there", `location.pathname == "/auth/login/" && document.querySelector("#id_password")`)
	began := time.Now()
	v.submit(vars["ADMIN_USER"], vars["ADMIN_PASSWORD"])
	v.wait("the administrator is in", `document.readyState == "complete" && document.querySelector("#sidebar, .sidebar, #navbar-collapse")`)
	v.t.Logf("logged in after %.1f s", time.Since(began).Seconds())
	if at := eval[string](v, `location.pathname`); at != home {
		v.t.Errorf("after the login the page is %s, want %s", at, home)
	}
}

// look opens a page, waits for what it is to have, and takes a picture.
func (v *visitor) look(url, shot, has string) {
	v.t.Helper()
	v.do(chromedp.Navigate(url))
	v.wait(url+" is there", `document.readyState == "complete" && `+has)
	v.styled()
	v.shoot(shot)
}

// styled fails if the page comes without its style sheets or its fonts.
func (v *visitor) styled() {
	v.t.Helper()
	if n := eval[float64](v, `[...document.styleSheets].filter(s => s.href).reduce((n, s) => n + s.cssRules.length, 0)`); n < 1000 {
		v.t.Errorf("the page's style sheets have %v rules: they are not there", n)
	}
	if sick := eval[string](v, `[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src).join(" ")`); sick != "" {
		v.t.Errorf("images that can't be shown: %s", sick)
	}
	v.wait("the fonts are there", `document.fonts.status == "loaded" && ![...document.fonts].some(f => f.status == "error")`)
}
