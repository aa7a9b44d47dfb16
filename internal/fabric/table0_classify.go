package fabric

import "fmt"

// classify is table 0: the port says which network a frame is of. From here on
// only metadata tells networks apart, so that equal MACs and addresses in two
// networks never meet.
func classify(m member) Flow {
	return m.flow(tableClassify, 100, fmt.Sprintf("in_port=%d", m.port),
		fmt.Sprintf("load:%#x->OXM_OF_METADATA[],set_field:%d->reg0,%s", m.net.VNI, m.reach, resubmit(tableSecurity)))
}
