package stack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// TestPuppet has an agent get its catalog from the server, and again after both were made anew: with the certificates,
// names and addresses that they had.
func TestPuppet(t *testing.T) {
	Full(t)
	s := ForTest(t, Options{})
	ctx := t.Context()
	what := What{"puppet", []Group{{Files: []string{"puppet"}, Host: 1}}}
	if err := s.UpAll(ctx, what); err != nil {
		t.Fatal(err)
	}
	before, err := s.Picture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cert, motd := s.node(t, s.Host(1))
	if !strings.HasPrefix(motd, "openstack-puppet-agent-1.") || !strings.Contains(motd, "is kept by Puppet") {
		t.Errorf("what the catalog writes is %q", motd)
	}
	for _, name := range []string{"up --force-recreate", "reboot of all hosts at once"} {
		if err := StormNamed(name).Do(ctx, s, what); err != nil {
			t.Fatal(err)
		}
		if err := s.Healthy(ctx, wellLimit); err != nil {
			t.Fatal(err)
		}
		s.Same(t, name, before)
		now, text := s.node(t, s.Host(1))
		if now != cert || text != motd {
			t.Errorf("after %s the node is %q with the certificate %s, was %q with %s", name, text, now, motd, cert)
		}
	}
}

// node runs the agent once more, and returns its certificate's fingerprint and what its catalog wrote.
func (s *Stack) node(t *testing.T, h *lab.Host) (cert, motd string) {
	t.Helper()
	const agent = "openstack-puppet-agent-1"
	out, err := h.Docker(t.Context(), "exec", agent, "bash", "-c",
		`puppet agent --onetime --waitforlock 2m --no-daemonize --verbose --logdest console --detailed-exitcodes >&2; rc=$?
		[ $rc = 0 ] || [ $rc = 2 ] || exit $rc
		openssl x509 -noout -fingerprint -in /var/lib/puppet/ssl/certs/*puppet-agent*.pem; cat /etc/motd`)
	if err != nil {
		t.Fatal(fmt.Errorf("a run of Puppet's agent: %w", err))
	}
	cert, motd, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return cert, motd
}
