package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/doctor"
)

// doctor is what the operator's doctor finds, but for what is as it should be.
// Where an engine or a store on a busy machine did not answer it in time, it is
// asked to come again, as it says itself.
func (h *host) doctor(args ...string) []admin.Finding {
	h.t.Helper()
	var r admin.Report
	for limit := time.Now().Add(time.Minute); ; {
		out, err := h.Exec(h.ctx(), append([]string{operatorCommand, "doctor", "--json"}, args...)...)
		r = admin.Report{}
		if json.Unmarshal([]byte(out), &r) != nil {
			h.t.Fatalf("doctor %v: %v\n%s", args, err, out)
		}
		if len(r.Findings) < 20 {
			h.t.Errorf("the doctor looked at %d things only: %s", len(r.Findings), out)
		}
		blind := slices.IndexFunc(r.Findings, func(f admin.Finding) bool { return f.ID == doctor.Blind })
		if blind < 0 || len(args) > 0 || time.Now().After(limit) {
			break
		}
		h.t.Logf("the doctor comes again: %s", r.Findings[blind].What)
	}
	return slices.DeleteFunc(r.Findings, func(f admin.Finding) bool { return f.Severity == admin.SeverityOK || h.asItIs(f) })
}

// asItIs is whether a finding is about the machine that the lab is on, and so on
// each of its hosts.
func (h *host) asItIs(f admin.Finding) bool {
	return f.Severity == admin.SeverityNote && slices.Contains([]string{"userspace-datapath", "dns-host", "dns-containers", "two-switches"}, f.ID) ||
		f.ID == "disk-full"
}

func ids(all []admin.Finding) []string {
	out := make([]string, 0, len(all))
	for _, f := range all {
		out = append(out, f.ID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// diagnosed fails the test unless the doctor finds exactly these.
func (h *host) diagnosed(what string, want ...string) []admin.Finding {
	h.t.Helper()
	return h.diagnosedOf(what, func(admin.Finding) bool { return true }, want...)
}

// diagnosedOf looks at some findings only.
func (h *host) diagnosedOf(what string, of func(admin.Finding) bool, want ...string) []admin.Finding {
	h.t.Helper()
	found := slices.DeleteFunc(h.doctor(), func(f admin.Finding) bool { return !of(f) })
	for _, f := range found {
		h.t.Logf("%s: %s %s: %s\n# %s", what, f.Severity, f.ID, f.What, f.Command)
	}
	slices.Sort(want)
	if got := ids(found); !slices.Equal(got, want) {
		h.t.Errorf("%s: found %v, want %v", what, got, want)
	}
	return found
}

// mend runs the commands that findings of one kind print, on the host.
func (h *host) mend(found []admin.Finding, id string) {
	h.t.Helper()
	for _, f := range found {
		if f.ID != id {
			continue
		}
		if words := strings.Fields(f.Command); words[0] == "docker" { // the lab's, with its engine's address
			h.docker(words[1:]...)
			continue
		}
		_, err := h.Exec(h.ctx(), "sh", "-c", f.Command)
		h.check(err)
	}
}

// TestDoctor: what is broken on a host is named; --fix mends what hurts nobody,
// the printed commands the rest; then nothing is found any more.
func TestDoctor(t *testing.T) {
	h := newHost(t)
	h.create("dr", "--subnet", "172.31.7.0/24")
	h.serve("dr-web", "dr")
	h.serve("dr-db", "dr")
	h.diagnosed("a host as it should be")

	// What --fix mends: our tables, rules, flows, and the store's rights.
	for _, line := range []string{
		"nft delete table ip dockstack", "ip rule del pref 4854", "chmod 644 /var/lib/dockstack/dockstack.db",
	} {
		_, err := h.Exec(h.ctx(), strings.Fields(line)...)
		h.check(err)
	}
	_, err := h.vswitch("ovs-ofctl", "-OOpenFlow15", "mod-flows", "dockstack0", "table=20,arp,actions=drop")
	h.check(err)
	h.diagnosed("after sabotage", "dns-redirect", "dns-silent", "gateway-missing", "missing-flow", "stale-flow", "store-mode")
	for _, f := range h.doctor("--fix") {
		if f.ID != doctor.Blind && (f.Failed != "" || !f.Mended) { // what it could not see is looked at below
			t.Errorf("--fix left %+v", f)
		}
	}
	h.diagnosed("after --fix")
	h.meets("dr-web", "dr-db", h.ipv4("dr-db", "dr"))

	// What needs a look first: a container's own doing, and somebody else's things.
	pid := h.docker("inspect", "-f", "{{.State.Pid}}", "dr-web")
	for _, line := range []string{
		"nsenter -t " + pid + " -n ip link set eth0 mtu 9000", "ip link add dse0123456789a type veth peer name other",
	} {
		_, err := h.Exec(h.ctx(), strings.Fields(line)...)
		h.check(err)
	}
	h.cut("dr-db", "dr")
	found := h.diagnosed("by hand", "container-mtu", "cut-off", "foreign-link")
	for _, id := range ids(found) {
		h.mend(found, id)
	}
	h.diagnosed("by the printed commands")
	h.meets("dr-db", "dr-web", h.ipv4("dr-web", "dr"))

	// The host's programs ask us once they are told to.
	before, err := os.ReadFile(h.Path("/etc/resolv.conf"))
	h.check(err)
	t.Cleanup(func() { h.check(h.WriteFile("/etc/resolv.conf", string(before))) })
	h.check(h.SetResolvers("192.0.2.53"))
	if out := h.operate("doctor"); !strings.Contains(out, "the host's resolvers are not dockstack's") {
		t.Errorf("nobody says that the host does not ask us:\n%s", out)
	}
	text := h.operate("doctor")
	i := strings.Index(text, "printf 'nameserver")
	if i < 0 {
		t.Fatalf("nobody says how the host asks us:\n%s", text)
	}
	line, _, _ := strings.Cut(text[i:], "\n")
	_, err = h.Exec(h.ctx(), "sh", "-c", line)
	h.check(err)
	if out := h.operate("doctor"); strings.Contains(out, "resolvers are not dockstack's") {
		t.Errorf("after %s still:\n%s", line, out)
	}
}

// cut removes the link of a container under the switch.
func (h *host) cut(container, network string) {
	h.t.Helper()
	id := h.docker("inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).EndpointID}}", network), container)
	links, err := h.Exec(h.ctx(), "ip", "-o", "link", "show")
	h.check(err)
	for line := range strings.Lines(links) {
		if strings.Contains(line, " alias dockstack:1:endpoint "+id) || strings.Contains(line, id) {
			name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
			_, err := h.Exec(h.ctx(), "ip", "link", "del", strings.TrimSuffix(name, ":"))
			h.check(err)
			return
		}
	}
	h.t.Fatalf("no link of endpoint %s in:\n%s", id, links)
}

// TestDoctorWithoutADaemon: where the daemon is away, the command says why.
func TestDoctorWithoutADaemon(t *testing.T) {
	h := newHost(t)
	h.docker("plugin", "disable", "-f", pluginName)
	t.Cleanup(func() { _, _ = h.try("plugin", "enable", pluginName) })
	out, err := h.Exec(h.ctx(), operatorCommand, "doctor", "--json")
	if err == nil {
		t.Error("a daemon that is away is no failure")
	}
	var r admin.Report
	h.check(json.Unmarshal([]byte(out), &r))
	i := slices.IndexFunc(r.Findings, func(f admin.Finding) bool { return f.ID == "plugin-off" })
	if i < 0 || r.Findings[i].Command != "docker plugin enable "+pluginName {
		t.Fatalf("nobody says that the plugin is off: %+v", r.Findings)
	}
	h.mend(r.Findings, "plugin-off")
	h.eventually(30*time.Second, func() string {
		out, err := h.Exec(h.ctx(), operatorCommand, "status", "--json")
		var s admin.Status
		if jsonErr := json.Unmarshal([]byte(out), &s); jsonErr != nil {
			return fmt.Sprint(jsonErr, err)
		}
		if !s.Switch.Up || !s.Store.Synced {
			return fmt.Sprintf("the switch or the store is not there yet: %+v, %+v", s.Switch, s.Store)
		}
		return ""
	})
	h.diagnosed("after the printed command")
}
