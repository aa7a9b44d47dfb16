package peers

import "errors"

// ErrDuplicate means that another machine which is alive has this host's
// identity.
var ErrDuplicate = errors.New("two hosts have one identity")

// errRecord: a mark is none that any dockstack would write.
var errRecord = errors.New("not a host's mark")
