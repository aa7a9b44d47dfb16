package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// The page's sections, in its order.
const (
	sectionHealth = "health"
	sectionHosts  = "hosts"
	sectionSpace  = "space"
	sectionNames  = "names"
	sectionDNS    = "dns"
	sectionEvents = "events"
)

var sections = []string{sectionHealth, sectionHosts, sectionSpace, sectionNames, sectionDNS, sectionEvents}

// templates turn what is known into markup. Whatever comes from outside goes
// through plain, which shows control characters and those that turn text
// around as what they are, and then through html/template's escaping.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"plain":   admin.Plain,
	"prose":   prose,
	"stamp":   stamp,
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"grouped": func(n any) string { return groupedAny(n) },
	"free":    free,
	"span":    span,
	"asset":   assetURL,
	"net":     networkOf,
	"word":    leaseWord,
	"add":     func(a, b int) int { return a + b },
	"addf":    func(a, b float64) float64 { return a + b },
	"kinds":   func() []string { return admin.EventKinds },
}).ParseFS(templateFiles, "templates/*.html"))

// prose is a sentence from outside in which what stands between backquotes is
// something to type.
func prose(text string) template.HTML {
	var b strings.Builder
	parts := strings.Split(admin.Plain(text), "`")
	for i, part := range parts {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 && i < len(parts)-1 {
			part = "<code>" + part + "</code>"
		} else if i%2 == 1 {
			part = "`" + part // it has no end
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // each part is escaped
}

func groupedAny(n any) string {
	switch n := n.(type) {
	case int:
		return grouped(int64(n))
	case int64:
		return grouped(n)
	case uint64:
		return grouped(int64(min(n, 1<<62)))
	}
	return fmt.Sprint(n)
}

// frame is what a section's template is given.
type frame struct {
	View view
	P    *picture
	Data any
}

// layout is what the page around the sections is given.
type layout struct {
	View     view
	P        *picture
	Self     string
	Health   health
	Sections []section
}

type section struct {
	ID   string
	HTML template.HTML
}

// render makes one section.
func (s *Server) render(ctx context.Context, id string, p *picture, v view) ([]byte, error) {
	f := frame{View: v, P: p}
	key := ""
	if id == sectionNames || id == sectionSpace {
		key = id + "?" + v.values().Encode()
		if html, ok := s.cache.get(p.mark, key); ok {
			return html, nil
		}
		select {
		case s.scans <- struct{}{}:
			defer func() { <-s.scans }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var failed error
	f.Data, failed = s.data(ctx, id, p, v)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, id, f); err != nil {
		return nil, fmt.Errorf("write section %s: %w", id, err)
	}
	html := bytes.TrimSpace(b.Bytes())
	if key != "" && failed == nil && p.Unread == nil {
		s.cache.put(p.mark, key, html)
	}
	return html, nil
}

// data is what a section's template shows. An error is part of it.
func (s *Server) data(ctx context.Context, id string, p *picture, v view) (any, error) {
	switch id {
	case sectionHealth:
		return judge(p), nil
	case sectionHosts:
		all := hostsOf(p)
		if len(all) == 0 {
			return hostsData{}, nil
		}
		return hostsData{Hosts: all, Charts: []chart{drawHosts(all, wide), drawHosts(all, narrow)}}, nil
	case sectionSpace:
		out, err := spaces(ctx, s.desk.src, p, v)
		if err != nil {
			out.Error = clean(err.Error())
		}
		return out, err
	case sectionNames:
		out, err := s.names(ctx, p, v)
		if p.census != nil {
			out.Networks = p.census.networks
			for _, h := range p.census.hosts {
				out.Hosts = append(out.Hosts, h.Name)
			}
			out.Hosts = slices.Compact(out.Hosts)
		}
		return out, err
	case sectionDNS:
		// The line moves with the samples, and not with each second.
		now := p.At
		if n := len(p.samples); n > 0 {
			now = p.samples[n-1].At
		}
		return dnsData{Counters: counters(p.Status.DNS), Spark: drawSpark(p.samples, now)}, nil
	case sectionEvents:
		return findEvents(p.events, v), nil
	}
	return nil, fmt.Errorf("no section %q", id)
}

// names are those of the view; an error is part of them too.
func (s *Server) names(ctx context.Context, p *picture, v view) (nameList, error) {
	if p.Unread != nil {
		return nameList{Error: p.Unread.Error()}, p.Unread
	}
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	out, err := findNames(ctx, s.desk.src, v)
	if err != nil {
		return nameList{Error: clean(err.Error())}, err
	}
	return out, nil
}

type hostsData struct {
	Hosts  []hostView
	Charts []chart
}

// Faults is how many hosts have something wrong with them.
func (h hostsData) Faults() int {
	n := 0
	for _, host := range h.Hosts {
		if host.State == hostFault || host.State == hostGone && host.Live > 0 {
			n++
		}
	}
	return n
}

type dnsData struct {
	Counters []counter
	Spark    spark
}

// cache keeps sections for which all leases had to be read.
type cache struct {
	mu   sync.Mutex
	mark uint64            // guarded by mu, like what follows
	html map[string][]byte // by section and view
}

// maxCached bounds the cache, whose sections are of some 100 KB at most.
const maxCached = 32

func (c *cache) get(mark uint64, key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	html, ok := c.html[key]
	return html, ok && c.mark == mark
}

func (c *cache) put(mark uint64, key string, html []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mark != mark || len(c.html) >= maxCached || c.html == nil {
		c.mark, c.html = mark, map[string][]byte{}
	}
	c.html[key] = html
}

// asset is a file that browsers may keep for ever, under an address that
// changes with it.
type asset struct {
	body       []byte
	kind, hash string
}

var assets = readAssets()

var assetKinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

func readAssets() map[string]asset {
	out := map[string]asset{}
	files, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // it is part of the binary
	}
	all := sha256.New()
	for _, f := range files {
		body, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			panic(err)
		}
		_, _ = all.Write(body)
		out[f.Name()] = asset{body: body, kind: assetKinds[path.Ext(f.Name())]}
	}
	hash := hex.EncodeToString(all.Sum(nil))[:12] // one for all: modules import each other
	for name, a := range out {
		a.hash = hash
		out[name] = a
	}
	return out
}

func assetURL(name string) string { return "assets/" + name + "?v=" + assets[name].hash }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", `"`+a.hash+`"`)
	if r.URL.Query().Get("v") == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(a.body)))
}
