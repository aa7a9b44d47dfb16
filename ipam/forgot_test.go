package ipam_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dockstack/dockstack/ipam"
)

// A known name is told its address before the store has it. Where the process
// ends in between, the engine goes on with the next one: with the address.
func TestAttachAfterACrashForgotTheRequest(t *testing.T) {
	w := inNetwork(t, "172.16.0.0/16")
	w.gets("web", "172.16.0.2")
	w.gets("db", "172.16.0.3")
	w.gets("late", "172.16.0.4")
	for _, a := range []string{"172.16.0.2", "172.16.0.3", "172.16.0.4"} {
		w.release(a)
	}
	w.later(time.Second)
	w.gets("web", "172.16.0.2")
	w.later(time.Second)
	w.open()
	w.holds("172.16.0.2", "web parked") // the crash forgot it
	w.attach("ep", "172.16.0.2")
	w.holds("172.16.0.2", "web live")

	// What is released by this process is over.
	w.later(time.Second)
	w.gets("db", "172.16.0.3")
	w.release("172.16.0.3")
	// And nobody comes after a minute.
	w.later(2 * time.Minute)
	for _, a := range []string{"172.16.0.3", "172.16.0.4"} {
		_, err := w.reg.Attach(w.ctx, ipam.Endpoint{ID: "other", Network: w.pool.Network, Addrs: addresses([]string{a})})
		w.fails(err, ipam.ErrNoLease, "no lease: "+a+" in network internal (172.16.0.0/16) was not requested for endpoint other, or was released since; start the container again")
	}
}

// A host that begins from an old copy gives a name the address that it had, and
// hears that another name of its own has it by now. The endpoint that comes then
// is the first name's: the other one keeps its address, and runs nowhere.
func TestAttachOfANameThatLostItsAddress(t *testing.T) {
	c := newCluster(t, "h1", "h2")
	h1, h2 := c.hosts["h1"], c.hosts["h2"]
	h1.gets("web", "172.16.0.2")
	h1.release("172.16.0.2")
	h1.copied()
	h1.fixes("db", "172.16.0.2")
	h1.release("172.16.0.2")
	h1.restartsAlone()
	h1.gets("web", "172.16.0.2")
	h1.shared.Mend()
	h1.follow()
	h1.sees("172.16.0.2", "db parked fixed")
	_, err := h1.reg.Attach(h1.ctx, ipam.Endpoint{ID: "ep", Network: h1.pool.Network, Addrs: addresses([]string{"172.16.0.2"})})
	if !errors.Is(err, ipam.ErrNoLease) {
		t.Errorf("web's endpoint with db's address: %v", err)
	}
	h1.release("172.16.0.2")
	h2.sees("172.16.0.2", "db parked fixed")
	h2.gets("db", "172.16.0.2")
}
