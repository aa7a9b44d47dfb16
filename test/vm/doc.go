// Package vm owns the tests that need a machine of their own: Debian's kernel
// with Open vSwitch's datapath, a reboot, and a power cut.
//
// The machine is qemu with a kernel from Debian's package and an initramfs made
// here of compiled test binaries; cmd/init is its first process. It has no
// network card. Everything it says comes over the serial console, with a marker
// at the end that says how it went: without the marker a test fails.
//
// Its disk is a Go value (disk.go), served to qemu over NBD on a unix socket.
// It knows what the guest flushed. A power cut comes in the middle of a write:
// qemu is killed, and of the sectors written since the last flush some are kept
// and the others lost, as by a disk with a cache. So what such a test proves is
// that the store asks for the right flushes in the right order. It says nothing
// of disks that ignore a flush.
//
// KVM is used where a guest comes up with it, software emulation otherwise:
// about three seconds to boot. The datapath's guest then counts time by its
// instructions, so that a busy host doesn't make it miss deadlines.
package vm
