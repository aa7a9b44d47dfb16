package heal

import (
	"fmt"
	"strings"
)

// Kind is why a member without a network is left so.
type Kind string

// The kinds.
const (
	// Unkept: it has no restart policy, so its user may not want it to run again.
	Unkept Kind = "no restart policy"
	// Declined: a label says to leave it alone; Off: the setting does.
	Declined Kind = "label"
	Off      Kind = "setting"
	// Failed: it was tried, and is tried again.
	Failed Kind = "failed"
	// Orphan: its owner exists no more.
	Orphan Kind = "orphan"
	// Lost: the engine took a network from it, and which is not known, or whether it
	// was connected again.
	Lost Kind = "lost"
	// Restarted and Started are what was done.
	Restarted Kind = "restarted"
	Started   Kind = "started"
	// Connected: it was given a network back, and left down.
	Connected Kind = "connected"
)

// Case is a container, and what became of it.
type Case struct {
	// Member and Owner are containers' names. Owner is "" for one whose start failed
	// at dockstack.
	Member, Owner string
	Kind          Kind
	// Down: it could not start while its owner was down, or dockstack, else it
	// runs in a namespace that ended.
	Down bool
	// Network is what the engine took from it when its start failed at Join: names
	// with spaces between them, "" for none.
	Network string
	// Error is why it failed.
	Error string
}

// What says it in a sentence.
func (c Case) What() string {
	switch {
	case c.Kind == Connected:
		return fmt.Sprintf("container %s is on network %s again, which the engine had taken from it when its start failed", c.Member, c.networks())
	case c.Kind == Started && c.Network != "":
		return fmt.Sprintf("container %s started, on network %s again, which the engine had taken from it when its start failed", c.Member, c.networks())
	case c.Kind == Lost:
		return fmt.Sprintf("container %s is down: its start failed, and the engine took one of its networks from it; which one is not known, or whether it was connected again", c.Member)
	case c.Owner == "" && c.Kind == Started:
		return fmt.Sprintf("container %s started: before, it could not, because dockstack did not answer the engine", c.Member)
	case c.Network != "":
		return fmt.Sprintf("container %s is down: its start failed, and the engine took network %s from it%s", c.Member, c.networks(), c.why())
	case c.Owner == "":
		return fmt.Sprintf("container %s is down: it could not start, because dockstack did not answer the engine%s", c.Member, c.why())
	}
	switch c.Kind {
	case Restarted:
		return fmt.Sprintf("container %s restarted: the network namespace of %s, which it shares, ended when that restarted", c.Member, c.Owner)
	case Started:
		return fmt.Sprintf("container %s started: before, %s, whose network namespace it shares, did not run", c.Member, c.Owner)
	case Orphan:
		return fmt.Sprintf("container %s has no network: it shares the namespace of %s, which was removed", c.Member, c.Owner)
	default:
	}
	text := fmt.Sprintf("container %s has no network: it shares the namespace of %s, which restarted", c.Member, c.Owner)
	if c.Down {
		text = fmt.Sprintf("container %s is down: it shares the network namespace of %s, which did not run when it was to start", c.Member, c.Owner)
	}
	return text + c.why()
}

func (c Case) networks() string { return strings.ReplaceAll(c.Network, " ", " and ") }

// why says why it was left so.
func (c Case) why() string {
	switch c.Kind {
	case Unkept:
		return "; it has no restart policy, so dockstack leaves it alone"
	case Declined:
		return "; the label " + Label + " tells dockstack to leave it alone"
	case Off:
		return "; DOCKSTACK_HEAL is off"
	case Failed:
		return "; that could not be mended yet: " + c.Error
	default:
		return ""
	}
}

// Command is what mends it.
func (c Case) Command() string {
	switch {
	case c.Kind == Orphan:
		return "docker rm -f " + c.Member
	case c.Kind == Lost:
		return "docker network connect NETWORK " + c.Member + " && docker start " + c.Member
	case c.Network != "":
		var connect strings.Builder
		for n := range strings.FieldsSeq(c.Network) {
			connect.WriteString("docker network connect " + n + " " + c.Member + " && ")
		}
		return connect.String() + "docker start " + c.Member
	case c.Owner == "":
		return "docker start " + c.Member
	}
	return "docker restart " + c.Member
}
