package ipam

import "slices"

// problem notes what a person should know, under the key that it is about.
func (r *Registry) problem(key, text string) {
	r.moved[key] = text
	r.showProblems()
}

func (r *Registry) solved(key string) {
	if _, known := r.moved[key]; known {
		delete(r.moved, key)
		r.showProblems()
	}
}

func (r *Registry) showProblems() {
	all := make([]string, 0, len(r.moved))
	for _, text := range r.moved {
		all = append(all, text)
	}
	slices.Sort(all)
	r.problems.Store(&all)
}

// Problems are what a person should know: names that moved away while this
// host was cut off, records that can't be read. It does not wait.
func (r *Registry) Problems() []string {
	if all := r.problems.Load(); all != nil {
		return *all
	}
	return nil
}
