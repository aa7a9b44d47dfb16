package fabric

// Tunnel is the way to the other hosts, as the pipeline sees it: it fills the
// three places where frames come from them and go to them. With one host there
// is none (noTunnel), and the tables around it stay as they are when there is.
type Tunnel interface {
	// Ingress returns the flows of the classifying table for frames that come
	// from other hosts of a network: they set metadata to the VNI and reg0 to
	// fromTunnel, learn a virtual MAC's whereabouts, and go on to forwarding.
	Ingress(n Network) []Flow
	// Flood returns the actions that carry a frame to every other host of a
	// network, empty when there is none.
	Flood(n Network) string
	// Learned returns the flows of the delivering table for a virtual MAC that
	// was last seen on another host.
	Learned(n Network) []Flow
}

// noTunnel is a host alone.
type noTunnel struct{}

var _ Tunnel = noTunnel{}

func (noTunnel) Ingress(Network) []Flow { return nil }
func (noTunnel) Flood(Network) string   { return "" }
func (noTunnel) Learned(Network) []Flow { return nil }
