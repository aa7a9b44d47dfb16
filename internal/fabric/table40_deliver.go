package fabric

import "fmt"

// deliver is table 40: a virtual MAC goes where table 25 has seen it last;
// reg1 stays zero when it never was.
func deliver(n Network) []Flow {
	f := func(priority int, match, actions string) Flow {
		return Flow{Cookie: networkCookie(n), Table: tableDeliver, Priority: priority, Match: match, Actions: actions}
	}
	return []Flow{
		f(80, fmt.Sprintf("%s,reg1=0", matchVNI(n)), "drop"),
		f(10, matchVNI(n), "output:NXM_NX_REG1[0..15]"),
	}
}
