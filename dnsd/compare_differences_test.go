package dnsd

import "regexp"

// difference is something that a peer says otherwise than we do. Each field is
// a regular expression for the whole of what it is about; empty ones fit all.
type difference struct {
	peer, what       string
	name, qtype, how string
	ours, theirs     string
	// why stands in docs/dns-compared.md.
	why string
}

// disparity is one found.
type disparity struct {
	peer, what   string
	query        comparedQuery
	ours, theirs string
}

func (d disparity) is(known difference) bool {
	return known.peer == d.peer && known.what == d.what &&
		fits(known.name, d.query.name) && fits(known.qtype, d.query.qtype) && fits(known.how, d.query.how) &&
		fits(known.ours, d.ours) && fits(known.theirs, d.theirs)
}

var compiled = map[string]*regexp.Regexp{}

func fits(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	re := compiled[pattern]
	if re == nil {
		re = regexp.MustCompile("^(?:" + pattern + ")$")
		compiled[pattern] = re
	}
	return re.MatchString(text)
}

const (
	anyReverse = `.*\.(in-addr|ip6)\.arpa`
	hostNames  = `1[012]\.0\.16\.172\.in-addr\.arpa|20\.0\.16\.172\.in-addr\.arpa|(1\.1|6\.0)(\.0)+\.6\.1\..*`
	apexes     = `dockstack|16\.172\.in-addr\.arpa|0\.0\.0\.0\.0\.0\.0\.0\.6\.1\.0\.0\.0\.0\.d\.f\.ip6\.arpa`
	between    = `0\.16\.172\.in-addr\.arpa|16\.172\.in-addr\.arpa|(0\.0\.0\.)?0\.0\.0\.0\.0\.0\.0\.0\.6\.1\.0\.0\.0\.0\.d\.f\.ip6\.arpa`
	oneSOA     = `\S+ 1 IN SOA dockstack\. hostmaster\.dockstack\. 7 60 10 86400 1`
	oneNS      = `\S+ 5 IN NS dockstack\.`
	ourHINFO   = `\S+ 5 IN HINFO "RFC8482" ""`
	otherTypes = `[^P].*|P[^T].*`
	ordinary   = `plain|edns|do|cookie|no recursion`
)

// differences are all that there are.
var differences = []difference{
	// dnsmasq
	{peer: "dnsmasq", what: "authority", ours: oneSOA, theirs: none, how: ordinary, why: whyNoSOA},
	{peer: "dnsmasq", what: "flags", how: ordinary, ours: `aa ra( rd)?`, theirs: `ra( rd)?`, why: whyNoAA},
	{peer: "dnsmasq", what: "answer", qtype: "SOA|NS|A", name: apexes, theirs: none, why: whyNoApex},
	{peer: "dnsmasq", what: "answer", qtype: "ANY", ours: ourHINFO, why: whyANY},
	{peer: "dnsmasq", what: "additional", qtype: "ANY", ours: none, why: whyANY},
	{peer: "dnsmasq", what: "rcode", name: hostNames, qtype: otherTypes, ours: "NOERROR", theirs: "NXDOMAIN", why: whyReverseTypes},
	{peer: "dnsmasq", what: "rcode", name: between, ours: "NOERROR", theirs: "NXDOMAIN", why: whyBetween},
	{peer: "dnsmasq", what: "rcode", name: `(?i)(x|x\.y)\.apps\.dockstack`, ours: "NOERROR", theirs: "NXDOMAIN", why: whyWildTypes},
	{peer: "dnsmasq", what: "answer", name: `(er\.|x\.own\.)?apps\.dockstack`, qtype: "A|ANY", ours: none, theirs: `\S+ 5 IN A 192\.0\.2\.10`, why: whyWildBelow},
	{peer: "dnsmasq", what: "rcode", name: `x\.own\.apps\.dockstack`, ours: "NXDOMAIN", theirs: "NOERROR", why: whyWildBelow},
	{peer: "dnsmasq", what: "rcode", name: `dead\.dockstack`, ours: "NXDOMAIN", theirs: "NOERROR", why: whyDead},
	{peer: "dnsmasq", what: "rcode", name: `my-app\.dockstack`, ours: "NOERROR", theirs: "NXDOMAIN", why: whyHyphen},
	{peer: "dnsmasq", what: "answer", name: `my-app\.dockstack`, qtype: "A", theirs: none, why: whyHyphen},
	{peer: "dnsmasq", what: "answer", name: `20\..*`, qtype: "PTR", ours: `.*my-app\.dockstack\.`, theirs: `.*my_app\.dockstack\.`, why: whyHostName},
	{peer: "dnsmasq", what: "rcode", how: "version 1", ours: "BADVERS", why: whyVersion},
	{peer: "dnsmasq", what: "answer", how: "version 1", ours: none, why: whyVersion},
	{peer: "dnsmasq", what: "flags", how: "version 1", ours: "ra rd", theirs: "aa ra rd", why: whyVersion},
	{peer: "dnsmasq", what: "rcode", how: "two questions|no question", ours: "FORMERR", theirs: "REFUSED", why: whyQuestions},
	{peer: "dnsmasq", what: "question", how: "two questions", why: whyQuestions},
	{peer: "dnsmasq", what: "rcode", how: "status|notify|update", ours: "NOTIMP", theirs: "REFUSED", why: whyOpcodes},
	{peer: "dnsmasq", what: "flags", how: "status|notify|update", ours: "ra", theirs: "ra rd", why: whyOpcodes},
	{peer: "dnsmasq", what: "rcode", how: "chaos|any class", ours: "REFUSED", theirs: "NOERROR|NXDOMAIN", why: whyClasses},
	{peer: "dnsmasq", what: "flags", how: "chaos|any class", ours: "rd", theirs: "ra rd", why: whyClasses},
	{peer: "dnsmasq", what: "rcode", qtype: "AXFR|IXFR", ours: "REFUSED", theirs: "NOERROR", why: whyTransfer},
	{peer: "dnsmasq", what: "flags", qtype: "AXFR|IXFR", ours: "rd", theirs: "ra rd", why: whyTransfer},
	{peer: "dnsmasq", what: "rcode", qtype: "MAILB|OPT|TKEY", ours: "NOTIMP", why: whyMeta},
	{peer: "dnsmasq", what: "flags", qtype: "MAILB|OPT|TKEY", why: whyMeta},
	// CoreDNS
	{peer: "CoreDNS", what: "flags", qtype: "ANY", ours: "aa ra rd", theirs: "rd", why: whyCoreANY},
	{peer: "CoreDNS", what: "answer", qtype: "ANY", ours: ourHINFO + "|", theirs: `\S+ 8482 IN HINFO "ANY obsoleted" "See RFC 8482"`, why: whyCoreANY},
	{peer: "CoreDNS", what: "rcode", qtype: "ANY", ours: "NXDOMAIN", theirs: "NOERROR", why: whyCoreANY},
	{peer: "CoreDNS", what: "authority", qtype: "ANY", ours: oneSOA, theirs: none, why: whyCoreANY},
	{peer: "CoreDNS", what: "flags", how: "status|update", ours: "ra", theirs: "rd", why: whyCoreOpcodes},
	{peer: "CoreDNS", what: "question", how: "status|update", why: whyCoreOpcodes},
	{peer: "CoreDNS", what: "rcode", how: "notify", ours: "NOTIMP", theirs: "silence", why: whyNotify},
	{peer: "CoreDNS", what: "flags", how: "notify", why: whyNotify},
	{peer: "CoreDNS", what: "question", how: "notify", why: whyNotify},
	{peer: "CoreDNS", what: "rcode", qtype: "MAILB|OPT|TKEY", ours: "NOTIMP", theirs: "NOERROR", why: whyMeta},
	{peer: "CoreDNS", what: "flags", qtype: "MAILB|OPT|TKEY", ours: "ra rd", theirs: "aa rd", why: whyMeta},
	{peer: "CoreDNS", what: "authority", qtype: "MAILB|OPT|TKEY", ours: none, theirs: oneSOA, why: whyMeta},
	{peer: "CoreDNS", what: "flags", ours: `(aa )?ra( rd)?`, theirs: `(aa ?)?(rd)?`, why: whyNoRA},
	{peer: "CoreDNS", what: "authority", ours: none, theirs: oneNS, why: whyNSBeside},
	{peer: "CoreDNS", what: "additional", name: "dockstack", qtype: "NS", ours: none, theirs: `dockstack\. 5 IN A 127\.0\.0\.1`, why: whyGlue},
	{peer: "CoreDNS", what: "authority", name: `(?i)(files|chain|alias)\.dockstack`, ours: oneSOA, theirs: oneNS, why: whyAliasDenial},
	{peer: "CoreDNS", what: "answer", name: `.*[A-Z].*`, ours: `[^|]*[A-Z].*`, why: whyCase},
	{peer: "CoreDNS", what: "authority", name: `.*[A-Z].*`, ours: oneSOA, theirs: oneSOA, why: whyCase},
	{peer: "CoreDNS", what: "answer", name: `er\.apps\.dockstack`, qtype: "A", ours: none, theirs: `\S+ 5 IN A 192\.0\.2\.10`, why: whyWildBetween},
	{peer: "CoreDNS", what: "authority", name: `er\.apps\.dockstack`, qtype: "A", ours: oneSOA, theirs: oneNS, why: whyWildBetween},
	{peer: "CoreDNS", what: "rcode", name: `my-app\.dockstack`, ours: "NOERROR", theirs: "NXDOMAIN", why: whyHyphen},
	{peer: "CoreDNS", what: "answer", name: `my-app\.dockstack`, qtype: "A", theirs: none, why: whyHyphen},
	{peer: "CoreDNS", what: "authority", name: `my-app\.dockstack`, qtype: "A", ours: none, theirs: oneSOA, why: whyHyphen},
}

// forwardDifferences are those about what comes from resolvers.
var forwardDifferences = []difference{
	{peer: "dnsmasq", what: "answer", name: `long\..*`, ours: `.+`, theirs: none, why: whyCutEmpty},
	{peer: "CoreDNS", what: "answer", name: `long\..*`, ours: `.+`, theirs: none, why: whyCutEmpty},
	{peer: "CoreDNS", what: "answer", name: `HOST\..*`, ours: `HOST.*`, theirs: `host.*`, why: whyCase},
	{peer: "CoreDNS", what: "answer", name: `alias\..*`, ours: `\S+ 300 IN CNAME .* 200 IN A .*`, theirs: `\S+ 200 IN CNAME .* 200 IN A .*`, why: whyLeastTTL},
}

// none is what an empty section looks like; an empty pattern would fit all.
const none = `(?:)`

// The reasons, as docs/dns-compared.md has them.
const (
	whyNoSOA        = "denies without an SOA record"
	whyNoAA         = "calls itself authoritative only where an answer has records of its own"
	whyNoApex       = "the zone's own name has nothing"
	whyANY          = "answers `ANY` with all that it has"
	whyReverseTypes = "denies that an address's name exists when another type than `PTR` is asked"
	whyBetween      = "denies that names exist which have others below them, in reverse zones"
	whyWildTypes    = "denies that a name under a wildcard exists when another type is asked"
	whyWildBelow    = "a wildcard (`address=/apps.dockstack/…`) holds for its own name and for all below, whatever else stands there"
	whyDead         = "says `NOERROR` for an alias that leads to no name"
	whyHyphen       = "knows `my_app` only with its underscore"
	whyHostName     = "gives the name with its underscore for an address"
	whyVersion      = "answers whatever version of EDNS is asked with"
	whyQuestions    = "refuses a packet with two questions or none"
	whyOpcodes      = "refuses `STATUS`, `NOTIFY` and `UPDATE`"
	whyClasses      = "answers the classes `CH` and `ANY`"
	whyTransfer     = "answers a zone transfer with an empty answer"
	whyMeta         = "takes `MAILB`, `OPT` and `TKEY` for types of records"
	whyCoreANY      = "answers `ANY` in its own words, also for names that do not exist"
	whyCoreOpcodes  = "leaves the question out of its `NOTIMP`"
	whyNotify       = "is silent when it is sent a `NOTIFY` by somebody who is no primary"
	whyNoRA         = "does not offer recursion"
	whyNSBeside     = "gives the zone's `NS` records with each answer"
	whyGlue         = "gives the name server's address with the `NS` records"
	whyAliasDenial  = "denies a type behind an alias without an SOA record"
	whyCase         = "gives names in the letters of its file, not in those asked"
	whyCutEmpty     = "gives nothing of a forwarded answer that is too long for UDP"
	whyLeastTTL     = "gives all records of a forwarded answer the shortest TTL of them"
	whyWildBetween  = "a wildcard holds for a name that has others below it"
)
