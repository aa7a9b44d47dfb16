package dnsd

import "errors"

var (
	// ErrZone is returned by New for a zone that is no domain name.
	ErrZone = errors.New("not a DNS zone")
	// ErrName is returned by Explain for what is no domain name, and by New and
	// CleanName for what is no name that a host can have.
	ErrName = errors.New("not a DNS name")
	// ErrListen is wrapped by every error that SetListeners reports.
	ErrListen = errors.New("DNS cannot listen")
	// ErrForwarder is returned by ParseForwarders.
	ErrForwarder = errors.New("not a resolver or route")
	// ErrClosed is returned by calls on a server that was closed.
	ErrClosed = errors.New("the DNS server is closed")

	// errNoUpstream means that there is no resolver to forward to.
	errNoUpstream = errors.New("no resolver to forward to (none in the settings or the host's resolv.conf, apart from this server itself)")
	// errBadAnswer means that a packet is no answer to the question asked.
	errBadAnswer = errors.New("not an answer to the question")
	// errTooMany means that MaxInFlight queries are with resolvers already,
	// errTooManyOfClient that MaxForwardPerClient of one client are.
	errTooMany         = errors.New("too many queries are being forwarded")
	errTooManyOfClient = errors.New("too many queries of this client are being forwarded")
	// errUpstreamRefused means that an upstream answered SERVFAIL or REFUSED.
	errUpstreamRefused = errors.New("the resolver could not answer")
)
