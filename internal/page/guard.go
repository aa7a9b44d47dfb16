package page

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
)

// policy lets a page have its own scripts, styles and pictures from files, and
// nothing else: even if a name got through unescaped, it would do nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dockstack"

// guard lets through what the page answers at all.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.knows(r.Host):
			// A page of somebody else whose name was made to lead here must not read
			// us (DNS rebinding): the name gives it away.
			http.Error(w, "This page answers to "+strings.Join(s.known(), ", ")+" and not to "+admin.Plain(r.Host)+".\n"+
				"To see it from another machine: ssh -L 8053:"+s.cfg.Addr.String()+" HOST, then http://localhost:8053/", http.StatusMisdirectedRequest)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
			return
		case foreign(r):
			http.Error(w, "Another site's page asked for this.", http.StatusForbidden)
			return
		case len(r.URL.RawQuery) > 4096:
			http.Error(w, "The address is too long.", http.StatusRequestURITooLong)
			return
		}
		// Streams set theirs anew with each message.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTime)) // a test's recorder has none
		next.ServeHTTP(w, r)
	})
}

// foreign is whether a page of somebody else made the browser ask, which may be
// one on another port of the same host. A link to the page itself is no harm.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
	default:
		return false
	}
	return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// known are the names that the page answers to, for people.
func (s *Server) known() []string {
	out := []string{"localhost", "loopback addresses"}
	if a := s.cfg.Addr.Addr(); a.IsValid() && !a.IsLoopback() {
		if a.IsUnspecified() {
			out = append(out, "any address of this host")
		} else {
			out = append(out, a.String())
		}
	}
	return append(out, s.cfg.Names...)
}

// knows is whether the page may be asked by a name. The port does not matter: a
// tunnel through ssh has another.
func (s *Server) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(name, "]"), "["), ".")
	if strings.EqualFold(name, "localhost") || slices.ContainsFunc(s.cfg.Names, func(n string) bool { return n != "" && strings.EqualFold(n, name) }) {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	addr, own := addr.Unmap().WithZone(""), s.cfg.Addr.Addr().Unmap().WithZone("")
	// Nobody can make an address in figures lead elsewhere, so where every address
	// of the host is listened on, each is as good.
	return addr.IsLoopback() || addr == own || own.IsValid() && own.IsUnspecified()
}
