// Package e2e proves the promise on real Docker Engines: whatever happens to
// containers, engines, plugins, hosts or etcd, every name keeps its address.
//
// Most tests share one lab host with its names in its own store; those in
// cluster_*_test.go share three hosts and an etcd of three members. Each lab
// starts when a test first wants it. The tests of one lab run one after the
// other, beside those of the other lab; each leaves its hosts without
// containers, and what it broke mended.
package e2e
