//go:generate go test -run ^TestPage$ -update .

package doctor

import "slices"

// Kind is what findings of one ID have in common.
type Kind struct {
	ID string
	// Severity is the usual one.
	Severity Severity
	// Means is what follows from it, Mend how it's mended, for people.
	Means, Mend string
	// Fix: Fix mends it.
	Fix bool
	// Fine is what to say where there is none; "" says nothing.
	Fine string
	// Local: the command finds it by itself, without the daemon.
	Local bool
}

// Blind is the kind of what could not be looked at.
const Blind = "not-looked-at"

func kindOf(id string) Kind {
	if i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.ID == id }); i >= 0 {
		return Kinds[i]
	}
	return Kind{ID: id, Severity: Warning}
}

// Kinds are all there are, as docs/doctor.md lists them.
var Kinds = slices.Concat(switchKinds, tunnelKinds, containerKinds, leaseKinds, dnsKinds, engineKinds, storeKinds, localKinds)

var switchKinds = []Kind{
	{
		ID: "switch-down", Severity: Error, Fine: "the switch is up",
		Means: "no container can start on a network of dockstack, and in userspace nothing is forwarded",
		Mend:  "start the host's Open vSwitch, where that is used; dockstack starts its own again and again, and the finding says what keeps it",
	},
	{
		ID: "switch-lagging", Severity: Error, Fix: true, Fine: "the switch is as it should be",
		Means: "containers that started lately may be cut off",
		Mend:  "`--fix` tries at once and compares everything; if it stays, the finding says what stands in the way",
	},
	{
		ID: "stale-port", Severity: Warning, Fix: true, Fine: "every port of ours belongs to an endpoint, a gateway or a tunnel",
		Means: "it does no harm, but shows that an end was missed", Mend: "`--fix` removes it",
	},
	{
		ID: "foreign-port", Severity: Warning, Fine: "nobody else has a port on the bridge",
		Means: "somebody added it to dockstack's bridge; it sees no frames, and dockstack leaves it alone", Mend: "remove it",
	},
	{
		ID: "stale-flow", Severity: Warning, Fix: true, Fine: "every flow of ours is wanted",
		Means: "it may let frames pass that should not, or lead them astray", Mend: "`--fix` replaces all flows about this host at once",
	},
	{
		ID: "missing-flow", Severity: Error, Fix: true, Fine: "no flow is missing",
		Means: "some containers can't reach each other", Mend: "`--fix` replaces all flows about this host at once",
	},
	{
		ID: "foreign-flow", Severity: Warning, Fine: "nobody else has flows on the bridge",
		Means: "somebody added it to dockstack's bridge; it may get around what keeps networks apart. One that outranks dockstack's flows is an error: it takes frames from them", Mend: "remove it",
	},
	{
		ID: "stale-link", Severity: Warning, Fix: true, Fine: "every link of ours is wanted",
		Means: "it does no harm, but shows that an end was missed", Mend: "`--fix` removes it",
	},
	{
		ID: "foreign-link", Severity: Warning, Fine: "no link has a name of ours",
		Means: "it is named like dockstack's, but bears no mark; a container whose link is to have this name can't start", Mend: "remove or rename it",
	},
	{
		ID: "link-down", Severity: Error, Fix: true, Fine: "every link of ours is up",
		Means: "somebody set it down: no frame passes. dockstack puts it up within 10 s; where it stays down, something sets it down again", Mend: "`--fix` puts it up",
	},
	{
		ID: "link-mtu", Severity: Error, Fix: true, Fine: "every link of ours takes its network's packets",
		Means: "somebody lowered its MTU: small packets pass and large ones vanish. dockstack raises it within 10 s", Mend: "`--fix` raises it",
	},
	{
		ID: "gateway-missing", Severity: Error, Fix: true, Fine: "the gateways' addresses and routing rules are there",
		Means: "DNS is not reached on the gateway, or containers of one network reach others through this host", Mend: "`--fix` puts them back",
	},
	{
		ID: "two-switches", Severity: Warning, Fine: "one Open vSwitch runs",
		Means: "two on one kernel datapath remove each other's ports", Mend: "stop one of them",
	},
	{
		ID: "userspace-datapath", Severity: Note, Fine: "the kernel forwards",
		Means: "the kernel has no Open vSwitch datapath, so a process forwards: about half the speed of a Linux bridge, and it stands still while that process restarts. The tunnels are the kernel's own vxlan devices",
		Mend:  "install the kernel's module openvswitch and load it; the plugin chooses at its start",
	},
	{
		ID: "no-tun", Severity: Error, Fine: "the kernel has what the datapath needs",
		Means: "the userspace datapath needs the tun device, so the switch can't start", Mend: "load the kernel's module tun",
	},
}

var tunnelKinds = []Kind{
	{
		ID: "no-vxlan", Severity: Error, Fine: "the kernel has VXLAN",
		Means: "other hosts' containers can't be reached", Mend: "load the kernel's module vxlan",
	},
	{
		ID: "tunnel-fault", Severity: Error, Fine: "the tunnels are up",
		Means: "other hosts' containers can't be reached", Mend: "as the finding says",
	},
	{
		ID: "port-clash", Severity: Error, Fine: "the tunnels' UDP port is ours",
		Means: "tunnels can't be opened beside it, or it takes their packets", Mend: "stop the other program, or set another port on all hosts",
	},
	{
		ID: "firewall", Severity: Error, Fine: "no filter here is known to drop the tunnels' packets",
		Means: "packets of other hosts' containers don't arrive", Mend: "let the UDP port in",
	},
	{
		ID: "filter-missing", Severity: Error, Fix: true, Fine: "only hosts may send to the tunnels",
		Means: "anybody who reaches this host may send packets into the networks", Mend: "`--fix` puts the filter back",
	},
	{
		ID: "path-down", Severity: Error, Fine: "no host is known to be out of reach",
		Means: "containers there can't be reached from here", Mend: "mend the network between the two hosts",
	},
	{
		ID: "path-silent", Severity: Note,
		Means: "it answers neither ICMP echo nor UDP, so whether large packets get there is not known", Mend: "let ICMP echo pass, to know",
	},
	{
		ID: "path-mtu", Severity: Error, Fine: "the largest packets get to every host that answers",
		Means: "small packets pass and large ones vanish: connections open, and hang with the first data",
		Mend:  "raise the MTU on the way, or make the networks anew with a smaller one",
	},
	{
		ID: "rp-filter", Severity: Warning, Fine: "packets of other hosts come by the interface by which they leave",
		Means: "the kernel drops packets that come by another interface than answers would leave by (rp_filter)", Mend: "loosen the check on that interface",
	},
}

var containerKinds = []Kind{
	{
		ID: "cut-off", Severity: Error, Fine: "every container's endpoint is known",
		Means: "the engine holds the container to be on the network, and dockstack knows nothing of it, or its link was removed: it has no way to others",
		Mend:  "restart the container",
	},
	{
		ID: "dead-namespace", Severity: Error, Fine: "every container that shares another's network has it",
		Means: "a network namespace ends when the container that has it restarts; those that share it keep one with lo alone, and nobody reaches them. dockstack restarts those that have a restart policy, or the label dockstack.heal=on",
		Mend:  "restart it, and give it `restart: always`; if it belongs to a container that was removed, make it anew",
	},
	{
		ID: "start-failed", Severity: Error, Fine: "every container whose start dockstack did not answer was started",
		Means: "dockstack was killed or off while the container was to start, and then no restart policy starts it. dockstack does, if it has one, or the label dockstack.heal=on. If the start failed at its last call, the engine took the network from the container too, and dockstack connects it again",
		Mend:  "start it; connect it first if the engine took its network",
	},
	{
		ID: "stale-endpoint", Severity: Warning, Fix: true, Fine: "every endpoint has its container",
		Means: "its container's end was missed; its address counts as in use", Mend: "`--fix` drops it and parks its lease",
	},
	{
		ID: "displaced", Severity: Error, Fine: "no container is kept off its network",
		Means: "its name or address is on another host by now, so it is kept off the network", Mend: "stop it here",
	},
	{
		ID: "unknown-network", Severity: Error, Fine: "every network of the engine's is known",
		Means: "no container can start on it: it was made while dockstack was off, or the store is another than then", Mend: "make it anew",
	},
	{
		ID: "stale-network", Severity: Note, Fine: "every network is the engine's",
		Means: "the engine has it no more; dockstack forgets it within a minute", Mend: "wait a minute; if it stays, restart the plugin",
	},
	{
		ID: "container-mtu", Severity: Warning, Fine: "containers' interfaces have their network's MTU",
		Means: "it was changed inside the container; larger packets than the network's vanish", Mend: "restart the container",
	},
}

var leaseKinds = []Kind{
	{
		ID: "stale-lease", Severity: Warning, Fix: true, Fine: "every live address has its container",
		Means: "the store says that a container here holds the address, and none does", Mend: "`--fix` parks it: the name keeps it",
	},
	{
		ID: "lost-host", Severity: Warning, Fine: "no host is missing that left something",
		Means: "what it left stays: its names are free for others, but its networks count as in use", Mend: "if the machine is gone for good, forget it",
	},
	{
		ID: "import-left", Severity: Warning, Fine: "no import is half done",
		Means: "an import was cut off; it is finished or taken back when its host's plugin starts", Mend: "start that host's plugin, or forget the host",
	},
	{
		ID: "pool-full", Severity: Warning, Fine: "every network has addresses left",
		Means: "new names get no address of their own when nothing is left; parked ones are taken from who was away longest", Mend: "release reserved names that are not needed, or use a larger network",
	},
	{
		ID: "pool-overlap", Severity: Warning, Fine: "no route of the host leads into a network's subnet",
		Means: "what this host sends there goes another way, and a container that is on both can't start", Mend: "remove the route, or use another subnet",
	},
}

var dnsKinds = []Kind{
	{
		ID: "dns-listener", Severity: Error, Fix: true, Fine: "DNS listens everywhere",
		Means: "names are not answered on this address", Mend: "stop who has the port; `--fix` tries again at once",
	},
	{
		ID: "dns-redirect", Severity: Error, Fix: true, Fine: "port 53 leads to dockstack's DNS",
		Means: "names are not answered: somebody flushed the kernel's rules", Mend: "`--fix` puts them back",
	},
	{
		ID: "no-nat", Severity: Warning, Fine: "the kernel can redirect ports",
		Means: "DNS has port 53 itself, so no container can publish it", Mend: "load the kernel's module nft_nat",
	},
	{
		ID: "dns-silent", Severity: Error, Fine: "DNS answers",
		Means: "a question to it got no answer or a wrong one: another program, or a filter of the host, is in between", Mend: "find who has the port",
	},
	{
		ID: "dns-host", Severity: Note, Fine: "the host asks dockstack's DNS",
		Means: "programs on this host don't find containers by name", Mend: "name its address first in resolv.conf, or tell systemd-resolved",
	},
	{
		ID: "dns-containers", Severity: Note, Fine: "containers ask dockstack's DNS",
		Means: "containers find those on other hosts, and names in the zone, only with it; those on their own host and network the engine tells them", Mend: "name it in resolv.conf, or a gateway in daemon.json",
	},
	{
		ID: "dns-order", Severity: Warning,
		Means: "the first resolver's \"no such name\" is final, so dockstack is never asked", Mend: "name it first",
	},
	{
		ID: "dns-shadowed", Severity: Note,
		Means: "another DNS server has port 53 of this address; what is asked there gets to dockstack instead", Mend: "let it listen on its own addresses only",
	},
}

var engineKinds = []Kind{
	{
		ID: "engine-away", Severity: Warning, Fine: "the engine answers",
		Means: "names of networks and renames are learned late, and containers could not be compared", Mend: "start the engine",
	},
	{
		ID: "engine-old", Severity: Error, Fine: "the engine is new enough",
		Means: "before 29.0.3 the engine dies, or containers don't start, by faults of its own; before 29.0.4 `--ip` needs a network with `--subnet`", Mend: "upgrade the engine",
	},
	{
		ID: "engine-rootless", Severity: Error, Fine: "the engine is not rootless",
		Means: "a rootless engine's containers are in namespaces that the plugin doesn't reach", Mend: "use the system's engine",
	},
	{
		ID: "engine-settings", Severity: Warning, Fine: "no setting of the engine is known to hurt",
		Means: "containers don't reach the outside, or no resolver", Mend: "change daemon.json and restart the engine",
	},
	{
		ID: "plugin-twice", Severity: Error, Fine: "the plugin is installed once",
		Means: "both want the same socket and store, and which one the engine asks is chance", Mend: "remove one",
	},
}

var storeKinds = []Kind{
	{
		ID: "store-closed", Severity: Error, Fine: "the store is open",
		Means: "no container can start", Mend: "as the finding says",
	},
	{
		ID: "store-away", Severity: Error, Fine: "the shared store is reached",
		Means: "names that ran here last start, new ones and moves are refused", Mend: "bring etcd back",
	},
	{
		ID: "store-mode", Severity: Warning, Fix: true, Fine: "only root reads and writes the store",
		Means: "others on this host can read or change the leases", Mend: "`--fix` takes the rights away",
	},
	{
		ID: "disk-full", Severity: Warning, Fine: "there is room on the disks",
		Means: "without room, new names are refused; those that ran before still start", Mend: "make room",
	},
	{
		ID: "clock-skew", Severity: Warning, Fine: "the hosts' clocks agree",
		Means: "times in messages mislead", Mend: "let all hosts follow NTP",
	},
	{ID: "problem", Severity: Warning, Means: "the status says so, too", Mend: "as the finding says"},
	{ID: Blind, Severity: Note, Means: "so nothing is known about it", Mend: "run doctor again; the plugin's log says more"},
}
