package fabric

import (
	"fmt"
	"strings"
)

// virtualLifetime is how long a virtual MAC's place is remembered after it was
// last seen; its holder's adverts come every second.
const virtualLifetime = 300

// learnVirtual remembers in table 25 at which port a virtual MAC was last seen,
// and what more is to be loaded when it's looked up.
// These are the only addresses that the switch learns: all others are known.
// The flows have a cookie of their own, so that a resync leaves them.
func learnVirtual(more ...string) string {
	return fmt.Sprintf("learn(table=%d,priority=100,hard_timeout=%d,cookie=%#x,OXM_OF_METADATA[],"+
		"NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],%s)",
		tableLearned, virtualLifetime, CookieLearned,
		strings.Join(append([]string{"load:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15]"}, more...), ","))
}
