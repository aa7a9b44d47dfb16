package ipam_test

import (
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
