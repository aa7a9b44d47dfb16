package page

import (
	"regexp"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// login is what stands before the host in an address: an etcd's user and
// password never belong on a page, and neither do they in a message that
// quotes the address.
var login = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'@,]*(?:,[^/\s"'@,]*)*@`)

// secret is a setting of the form password=… in a message.
var secret = regexp.MustCompile(`(?i)\b(pass(?:word|wd|phrase)?|secret|token|api[_-]?key)(\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)`)

// clean takes secrets out of a text from elsewhere, and makes one line of it.
func clean(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	text = login.ReplaceAllString(text, "$1")
	return secret.ReplaceAllString(text, "$1$2***")
}

func cleanAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = clean(t)
	}
	return out
}

func cleanStatus(s *admin.Status) {
	s.Store.Where, s.Store.Closed, s.Store.Away = clean(s.Store.Where), clean(s.Store.Closed), clean(s.Store.Away)
	s.Switch.Error = clean(s.Switch.Error)
	s.Switch.Tunnel.Faults = cleanAll(s.Switch.Tunnel.Faults)
	s.Problems = cleanAll(s.Problems)
	s.DNS.Forwarders = cleanAll(s.DNS.Forwarders)
	listeners := make([]admin.DNSListener, len(s.DNS.Listeners))
	for i, l := range s.DNS.Listeners {
		listeners[i] = admin.DNSListener{Addr: l.Addr, Error: clean(l.Error)}
	}
	s.DNS.Listeners = listeners
}
