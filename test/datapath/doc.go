// Package datapath tests the switch as containers meet it: real Open vSwitch,
// real links, real frames between network namespaces.
//
// The test binary needs nothing beside Open vSwitch (DOCKSTACK_OVS_ROOT) and, for
// one test, keepalived: it makes its own traffic. `go test -c` gives a file that
// runs in a virtual machine as well, there with DOCKSTACK_TEST_DATAPATH=kernel.
package datapath
