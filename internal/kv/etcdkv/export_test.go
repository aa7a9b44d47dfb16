package etcdkv

// Notes is how much the store remembers for its streams.
func (s *Store) Notes() int { return s.book.Notes() }

// Member is the endpoint in use, empty while there is none.
func (s *Store) Member() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return ""
	}
	return s.session.e.addr
}
