package records

// Looked is what Add would say to a record.
type Looked struct {
	// Record is complete where Err is nil.
	Record
	// There: it is there already just so.
	There bool
	Err   error
}

// Look tells what Add would say to each of the records, were those before it
// added.
func (r *Records) Look(in []Record) []Looked {
	out := make([]Looked, len(in))
	for i := range in {
		l := &out[i]
		if l.Record, l.Err = Parse(r.cfg.Zone, in[i]); l.Err == nil {
			l.Err = r.besideContainer(l.Record)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, names := r.Now(), len(r.raw)
	added := map[string][]Record{}
	at := func(name string) []Record {
		if list := added[name]; list != nil {
			return list
		}
		return now.At(name)
	}
	for i := range out {
		l := &out[i]
		if l.Err != nil {
			continue
		}
		if _, l.Err = r.fits(l.Record, at, names); l.Err != nil {
			continue
		}
		for _, old := range now.At(l.Name) {
			l.There = l.There || old == l.Record
		}
		there := at(l.Name)
		list, err := beside(l.Record, there)
		if l.Err = err; err != nil {
			continue
		}
		if added[l.Name] = list; len(there) == 0 {
			names++
		}
	}
	return out
}
