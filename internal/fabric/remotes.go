package fabric

// SetUnderlay says how this host reaches the others and which there are. It only
// notes that; Run follows.
func (f *Fabric) SetUnderlay(Underlay) { f.wake() }

// ChangeRemotes tells news of addresses on other hosts. It only notes them; Run
// follows.
func (f *Fabric) ChangeRemotes([]RemoteChange) { f.wake() }
