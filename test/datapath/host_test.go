package datapath

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/ovs"
	"github.com/dockstack/dockstack/internal/ovs/ovstest"
)

// hostSwitch runs an Open vSwitch as the host's, with a bridge of somebody's.
func hostSwitch(t *testing.T) (*world, ovs.Config) {
	t.Helper()
	theirs := newWorld(t)
	if _, err := theirs.cfg.Run(t.Context(), "ovs-vsctl", "add-br", "theirs0", "--", "set", "Bridge", "theirs0", "datapath_type="+bridgeType(theirs.cfg)); err != nil {
		t.Fatal(err)
	}
	cfg := ovstest.Config(t)
	cfg.Origin, cfg.Bridge = ovs.OriginAuto, "dockstack9"
	cfg.HostSocket = filepath.Join(theirs.cfg.RunDir, "db.sock")
	return theirs, cfg
}

func bridgeType(cfg ovs.Config) string {
	if cfg.Datapath == ovs.DatapathUserspace {
		return "netdev"
	}
	return "system"
}

func TestHostsSwitchIsUsedWhenItRuns(t *testing.T) {
	theirs, cfg := hostSwitch(t)
	theirs.stopFa()
	w := &world{tb: t, cfg: cfg, links: theirs.links, stopFa: func() {}}
	w.startSwitch()
	w.startFabric()
	w.await("the host's switch", func() bool { return w.fab.Status().Up })
	if got := w.fab.Status().Origin; got != ovs.OriginHost {
		t.Errorf("origin %q", got)
	}
	n := w.network(7)
	a, b := w.container(n, "10.0.0.2"), w.container(n, "10.0.0.3")
	if err := exchange(a, b, b.ep.Addrs[0], 1<<20); err != nil {
		t.Error(err)
	}
	out, err := theirs.cfg.Run(t.Context(), "ovs-vsctl", "list-br")
	if err != nil || strings.Join(strings.Fields(string(out)), " ") != "dockstack0 dockstack9 theirs0" {
		t.Errorf("bridges: %q, %v", out, err)
	}
	w.stopFa()
	w.stopSw()
}

func TestSomebodysBridgeIsLeftAlone(t *testing.T) {
	theirs, cfg := hostSwitch(t)
	cfg.Bridge = "theirs0"
	w := &world{tb: t, cfg: cfg, links: theirs.links}
	w.startSwitch()
	w.await("the refusal", func() bool {
		st, _ := w.sw.State()
		return errors.Is(st.Err, ovs.ErrNotOurs)
	})
	out, err := theirs.cfg.Run(t.Context(), "ovs-vsctl", "get", "Bridge", "theirs0", "fail_mode")
	if err != nil || strings.TrimSpace(string(out)) != "[]" {
		t.Errorf("its fail_mode became %q, %v", out, err)
	}
	w.stopSw()
}

func TestNoOpenVSwitchAtAll(t *testing.T) {
	cfg := ovstest.Config(t)
	cfg.Root = t.TempDir()
	w := &world{tb: t, cfg: cfg}
	w.startSwitch()
	w.await("an error that says so", func() bool {
		st, _ := w.sw.State()
		return errors.Is(st.Err, ovs.ErrNoSwitch)
	})
	w.stopSw()
}
