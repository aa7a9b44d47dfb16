package records

// Look tells what Add would say to a record: the record complete, and whether it
// is there already just so.
func (r *Records) Look(in Record) (rec Record, there bool, err error) {
	if rec, err = Parse(r.cfg.Zone, in); err != nil {
		return rec, false, err
	}
	if err = r.besideContainer(rec); err != nil {
		return rec, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err = r.fits(rec); err != nil {
		return rec, false, err
	}
	for _, old := range r.Now().At(rec.Name) {
		there = there || old == rec
	}
	return rec, there, nil
}
