// Package e2e proves the promise on a real Docker Engine: whatever happens to
// containers, the engine or the plugin, every name keeps its address.
//
// The tests share one lab host and run one after the other; each leaves it
// without containers.
package e2e
