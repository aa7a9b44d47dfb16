package dnsd

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultCacheSize = 10_000
	// answerRoom is how many bytes of memory an answer may take on average, 5 MB
	// in all by default. Most take less; where they do not, fewer are kept.
	answerRoom = 512
	// leastRoom is for a cache of a few answers, which may be long ones.
	leastRoom = 16 << 10
	// answerCost is what an answer takes beside its packet: the structures here
	// and its share of the maps.
	answerCost = 320
	// cacheShards is how many parts a large cache has, so that readers on all
	// cores seldom meet; a power of 2.
	cacheShards = 16
	// smallCache is up to where one part does: its bounds would be too coarse.
	smallCache = 64 * cacheShards
)

// cacheKey is what an answer depends on. Every question has class IN.
type cacheKey struct {
	// name is in lower case, without a dot at its end.
	name  string
	qtype uint16
	// flags are those of flagCD, and 1 for EDNS's DO.
	flags uint16
}

const keyDO = 1

func newKey(name string, qtype, flags uint16, do bool) cacheKey {
	k := cacheKey{name: name, qtype: qtype, flags: flags & flagCD}
	if do {
		k.flags |= keyDO
	}
	return k
}

// cache keeps resolvers' answers, bounded in number and bytes. What was not
// asked for the longest goes first. Nil keeps nothing.
type cache struct {
	seed   maphash.Seed
	shards []cacheShard
	// entries and bytes are what is in it.
	entries, bytes atomic.Int64
	// flushed counts flushes.
	flushed atomic.Uint64
}

// cacheShard is the part of the cache for some names. Its kept answers make a
// ring through root, the one asked for last behind it.
type cacheShard struct {
	maxEntries, maxBytes int

	mu    sync.Mutex
	by    map[cacheKey]*kept // guarded by mu
	root  kept               // guarded by mu
	bytes int                // guarded by mu
}

// kept is one answer in its ring.
type kept struct {
	key        cacheKey
	answer     *answer
	prev, next *kept
}

// newCache makes a cache of size answers, nil for none.
func newCache(size int) *cache {
	if size <= 0 {
		return nil
	}
	n := cacheShards
	if size <= smallCache {
		n = 1
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]cacheShard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.maxEntries = (size + n - 1) / n
		s.maxBytes = max(s.maxEntries*answerRoom, leastRoom)
		s.by = map[cacheKey]*kept{}
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return c
}

func (c *cache) shard(k cacheKey) *cacheShard {
	return &c.shards[maphash.String(c.seed, k.name)&uint64(len(c.shards)-1)]
}

// get returns what is kept for k, and whether it is fresh; nil for nothing,
// not even for when all resolvers fail.
func (c *cache) get(k cacheKey, now time.Time) (*answer, bool) {
	if c == nil {
		return nil, false
	}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.by[k]
	if e == nil {
		return nil, false
	}
	fresh := e.answer.fresh(now)
	if !fresh && !now.Before(e.answer.gone) {
		c.dropLocked(s, e)
		return nil, false
	}
	s.frontLocked(e)
	return e.answer, fresh
}

// generation is for put: with it go the resolvers that are asked from then on.
func (c *cache) generation() uint64 {
	if c == nil {
		return 0
	}
	return c.flushed.Load()
}

// put keeps a for k, unless it may not be kept, is too large, or the cache was
// flushed since generation: then other resolvers may say otherwise.
func (c *cache) put(k cacheKey, a *answer, generation uint64) {
	if c == nil || a.life == 0 {
		return
	}
	s := c.shard(k)
	cost := a.cost(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.flushed.Load() != generation {
		return
	}
	if old := s.by[k]; old != nil {
		c.dropLocked(s, old)
	}
	if cost > s.maxBytes/4 {
		return
	}
	e := &kept{key: k, answer: a}
	s.by[k] = e
	s.linkLocked(e)
	s.bytes += cost
	c.bytes.Add(int64(cost))
	c.entries.Add(1)
	for len(s.by) > s.maxEntries || s.bytes > s.maxBytes {
		c.dropLocked(s, s.root.prev)
	}
}

// flush forgets everything.
func (c *cache) flush() {
	if c == nil {
		return
	}
	c.flushed.Add(1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		c.entries.Add(-int64(len(s.by)))
		c.bytes.Add(-int64(s.bytes))
		s.by, s.bytes = map[cacheKey]*kept{}, 0
		s.root.prev, s.root.next = &s.root, &s.root
		s.mu.Unlock()
	}
}

// size is how many answers are kept and the memory that they take.
func (c *cache) size() (entries, bytes int64) {
	if c == nil {
		return 0, 0
	}
	return c.entries.Load(), c.bytes.Load()
}

// cost is the memory that a takes under k.
func (a *answer) cost(k cacheKey) int {
	return answerCost + len(k.name) + cap(a.wire) + 2*cap(a.ttls) + cap(a.options)
}

func (s *cacheShard) linkLocked(e *kept) {
	e.prev, e.next = &s.root, s.root.next
	e.prev.next, e.next.prev = e, e
}

func (s *cacheShard) frontLocked(e *kept) {
	if s.root.next == e {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	s.linkLocked(e)
}

func (c *cache) dropLocked(s *cacheShard, e *kept) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(s.by, e.key)
	cost := e.answer.cost(e.key)
	s.bytes -= cost
	c.bytes.Add(-int64(cost))
	c.entries.Add(-1)
}
