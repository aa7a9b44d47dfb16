package peers

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// Prefix is where the marks stand in the store.
const Prefix = "host/"

const (
	// maxRecord is far above what a mark needs, in bytes.
	maxRecord = 4096
	// maxName is the longest host name that Linux and DNS know.
	maxName = 253
	// shortID is how much of an id people need to tell hosts apart.
	shortID = 8
)

// Host is one engine as its mark describes it.
type Host struct {
	// ID stays with the host's local store for ever.
	ID string `json:"id"`
	// Name is for people.
	Name string `json:"name"`
	// VTEP is where the host's tunnels end; invalid: it has none (yet).
	VTEP netip.Addr `json:"vtep,omitzero"`
	// Port is the UDP port of its tunnels.
	Port uint16 `json:"port"`
	// Boot changes when the machine boots, Run with every process.
	Boot string `json:"boot"`
	Run  string `json:"run"`
	// Since is when the process began to be a host of the cluster, Clock what
	// the host's clock showed when it wrote the mark.
	Since time.Time `json:"since"`
	Clock time.Time `json:"clock"`
	// Version is dockstack's.
	Version string `json:"version"`
}

func (h Host) encode() ([]byte, error) {
	value, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode this host's mark: %w", err)
	}
	return value, nil
}

// decodeHost reads a mark. Fields that a newer version adds are no error.
func decodeHost(id string, value []byte) (Host, error) {
	if len(value) > maxRecord {
		return Host{}, fmt.Errorf("%w: %d bytes, %d is the most", errRecord, len(value), maxRecord)
	}
	var h Host
	if err := json.Unmarshal(value, &h); err != nil {
		return Host{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	h.VTEP = h.VTEP.Unmap()
	switch a := h.VTEP; {
	case h.ID != id:
		return Host{}, fmt.Errorf("%w: it names host %.20q", errRecord, h.ID)
	case h.Name == "" || len(h.Name) > maxName || strings.ContainsFunc(h.Name, unprintable):
		return Host{}, fmt.Errorf("%w: the name is %.20q", errRecord, h.Name)
	case a.IsValid() && (a.Zone() != "" || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified()):
		return Host{}, fmt.Errorf("%w: no tunnel can end at %s", errRecord, a)
	}
	return h, nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }

// hostID returns the id in a mark's key.
func hostID(key string) (id string, ok bool) {
	id, ok = strings.CutPrefix(key, Prefix)
	return id, ok && validID(id)
}

// validID is wider than what newID gives, for versions to come.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '-'
	})
}

// short returns what stands for a host without a name.
func short(id string) string {
	if len(id) > shortID {
		return id[:shortID]
	}
	return id
}
