package yamldoc

import (
	"errors"
	"fmt"
	"slices"
)

// maxProblems is how many a person wants to read at once.
const maxProblems = 20

// Problems are what is wrong with a file, so that it is mended once and not
// line by line.
type Problems struct {
	all  []error
	more int
}

// Add notes one; what says where.
func (p *Problems) Add(where, format string, args ...any) {
	p.Err(fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
}

// Err notes one that is an error already; nil is none.
func (p *Problems) Err(err error) {
	switch {
	case err == nil:
	case len(p.all) == maxProblems:
		p.more++
	default:
		p.all = append(p.all, err)
	}
}

// Any tells whether there are some.
func (p *Problems) Any() bool { return len(p.all) > 0 }

// Join is all of them, one a line, or nil.
func (p *Problems) Join() error {
	all := p.all
	if p.more > 0 {
		all = append(slices.Clip(all), fmt.Errorf("and %d more", p.more))
	}
	return errors.Join(all...)
}
