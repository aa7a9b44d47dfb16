package daemon

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/heal"
	"github.com/dockstack/dockstack/plugin"
)

// Why a container did not start stands among what happened, once however often
// the engine tries.
func TestRefusalsAreTold(t *testing.T) {
	o := opens(t, newNode(t, "node1"))
	full := plugin.Call{Path: "/IpamDriver.RequestAddress", Took: time.Millisecond, Err: errors.New("pool is full: network internal has no address left")}
	for range 5 {
		o.p.served(full)
	}
	o.p.served(plugin.Call{Path: full.Path, Took: time.Millisecond})
	o.p.refusals.tell(o.p.ring, full.Path, full.Err.Error(), time.Now().Add(refusedAgain))
	var told []string
	past := o.p.ring.Since(0)
	for _, e := range past {
		if e.Kind == admin.EventRefused {
			told = append(told, e.Text)
		}
	}
	want := "RequestAddress was refused: " + full.Err.Error()
	if !slices.Equal(told, []string{want, want}) {
		t.Errorf("told %q, want %q once and after a while again", told, want)
	}
}

// The engine keeps the text of a call that was cut off as why a container did not
// start, and from that it is known which are to be started.
func TestCutCallsAreKnownByTheirText(t *testing.T) {
	const begin = "failed to set up container networking: remote: dockstack: "
	if text := begin + plugin.ErrCut.Error(); !heal.Unanswered(text) || heal.AtJoin(text) {
		t.Errorf("not known: %s", text)
	}
	if text := begin + "switch is away; " + plugin.ErrJoin.Error(); heal.Unanswered(text) || !heal.AtJoin(text) {
		t.Errorf("not known: %s", text)
	}
}
