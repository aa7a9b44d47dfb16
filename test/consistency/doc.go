// Package consistency proves that no address is ever given twice and that a
// name is live on one host at a time, whatever happens to hosts and store.
//
// Several registries, each with what a host has around it (its mark, its copy
// of the store on disk), ask for names and addresses at random, from one pool
// that is full soon and one that is not, while hosts are cut off, stop, die and
// come back, and members of a real etcd are cut, delayed, paused, killed and
// started again. What callers asked and were told is then checked:
//
//   - Each name's history against a small sequential model (model_test.go), with
//     porcupine. The model has what design and docs promise, and no more.
//   - Each revision that the store ever had (trace_test.go): leases and addr/
//     keys are two sides of one thing, and a name that is live on a host whose
//     mark stands goes nowhere.
//   - At the end of each round, when all is mended: every registry has in memory
//     what the store has, every container that runs has its lease, or its host
//     says that it lost it.
//
// # What is promised, exactly
//
// A host has a name when the store has its lease live with that host's id. A
// request that was decided with the store is sure: it was written, or found so,
// under the condition that the asking host's mark stood. Sure requests of a
// name, of whatever host, are as if made one after the other, and
//
//   - one succeeds only while no other host has the name, or the one that has it
//     is dead: its mark is not in the store;
//   - it gives the address that the name had, unless another name was given that
//     meanwhile, or a fixed one is asked for; no address goes to a name while
//     another name has it on a host whose mark stands, or is reserved for it;
//   - one is refused with ErrElsewhere only while the host that it names has the
//     name.
//
// A request that a host decided alone, because the store was away or did not
// answer, is promised less: the host gives only a name that ran on it last as
// far as it knows, and the address of then. Others may give the same name
// meanwhile once the host's mark is gone, or where it had let go of the name.
// When the store is back the host writes that it has the name, if it can still
// have it; from that commit on the name is as if requested surely. If it can't,
// the host says so (Registry.Problems).
//
// An operator's words (reserve, release, rename, import of a few names) are decided
// with the store or not at all, and as requests are: none takes a name or an address
// from a container that runs on a host whose mark stands. What a host wrote later
// neither makes a reservation nor takes one back; a name that was released while
// its host ran it alone comes back without. Imports beyond one
// commit are ipam's own tests' (pieces_test.go there).
//
// A request that failed because the store went away in the middle may have been
// carried out, for its host, once or not at all.
package consistency
