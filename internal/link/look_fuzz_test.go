package link

import "testing"

// The kernel's list of sockets differs between kernels.
func FuzzSocket(f *testing.F) {
	f.Add("15479: 00000000:39C5 00000000:0000 07 00000000:00000000 00:00000000 00000000", "udp")
	f.Add("  sl  local_address rem_address   st", "tcp")
	f.Fuzz(func(t *testing.T, line, protocol string) {
		if at, listens := parseSocket(line, protocol); listens && !at.Addr().IsValid() {
			t.Errorf("%q: %s", line, at)
		}
	})
}
