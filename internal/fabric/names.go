package fabric

import (
	"crypto/sha256"
	"encoding/hex"
)

// Link names have 15 bytes at most. 44 bits of a hash tell endpoints apart;
// names are made from ids that the engine never gives twice, so none returns.
const (
	hashDigits = 11
	// hostPart, gatePart: the ends that are ports. One prefix finds both.
	hostPart = "e"
	gatePart = "g"
	// tunnelPart is a network's vxlan device, its VNI follows.
	tunnelPart = "v"
	// trunkName is the port of all networks' tunnel.
	trunkName = "tunnel"
	// peerPart, innerPart: the other ends, under another prefix, so that a
	// search for ports doesn't find them.
	peerPart  = "c-"
	innerPart = "o-"
)

func hashed(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:hashDigits]
}

// portName is the host's end of an endpoint's veth.
func (c Config) portName(endpoint string) string { return c.Prefix + hostPart + hashed(endpoint) }

// peerName is the container's end of an endpoint's veth.
func (c Config) peerName(endpoint string) string { return peerPart + c.Prefix + hashed(endpoint) }

// gateName is the switch's end of a network's gateway.
func (c Config) gateName(network string) string { return c.Prefix + gatePart + hashed(network) }

// innerName is the host's end of a network's gateway.
func (c Config) innerName(network string) string { return innerPart + c.Prefix + hashed(network) }
