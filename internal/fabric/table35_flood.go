package fabric

// Tables 35 and 36 carry broadcast and multicast to the other hosts of a
// network; the tunnels fill them. They stand apart from table 30 so that a host
// that comes or goes changes no flow of this host's own, and the other way
// round.
const (
	tableFlood     = 35
	tableFloodPart = 36
)
