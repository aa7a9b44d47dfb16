// Package peers owns the knowledge of which hosts exist: each one keeps a mark
// in the shared store, below host/, for as long as it lives, and every one
// reads the others' marks.
//
// A mark is more than a sign of life. It says where the host's tunnels end, so
// a host that moves to another address only writes it anew; and a host's
// commits are made under the condition that its own mark stands in the store
// just as it wrote it (Mark), so that a host which others take for dead, or
// two machines with one identity, can't write.
//
// What each host costs all others is its mark, a few hundred bytes, once when
// it comes and once every RewriteEvery.
package peers
