package lab

import "errors"

// ErrUp says that a living lab has the name already.
var ErrUp = errors.New("lab is up already")
