package ovs

import "testing"

// What ovs-ofctl prints is another program's.
func FuzzDifference(f *testing.F) {
	f.Add("-table=20 priority=1 cookie=0x7 actions=load:0x7->OXM_OF_METADATA[],resubmit(,10)\n+table=20 priority=1 cookie=0x7 actions=set_field:0x7->metadata,resubmit(,10)\n")
	f.Add("-\n+x\n)(,\n")
	f.Fuzz(func(t *testing.T, out string) {
		d := parseDifference(out)
		if r := d.real(); len(r.Missing) > len(d.Missing) || len(r.Extra) > len(d.Extra) {
			t.Errorf("%+v grew to %+v", d, r)
		}
	})
}
