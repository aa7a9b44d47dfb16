package etcdkv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dockstack/dockstack/internal/kv"
)

// fault is what is wrong with one member, and the way out.
type fault struct{ addr, what, wayOut string }

// away is the error of a store of which no member can be used. It reads the
// same in whatever order they failed, so that one outage is told once.
func away(faults []fault) error {
	faults = slices.SortedFunc(slices.Values(faults), func(a, b fault) int { return strings.Compare(a.addr, b.addr) })
	var what, out []string
	for _, f := range faults {
		what = append(what, "etcd "+f.addr+" "+f.what)
		if !slices.Contains(out, f.wayOut) {
			out = append(out, f.wayOut)
		}
	}
	return fmt.Errorf("%w: %s; %s", kv.ErrAway, strings.Join(what, ", "), strings.Join(out, "; or "))
}

// failure is the error of a request that a member did not carry out.
func (s *Store) failure(e *endpoint, err error) error {
	f := s.fault(e, err)
	what := "etcd " + f.addr + " " + f.what + "; " + f.wayOut
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %s", kv.ErrNoSpace, what)
	case tooLarge(err):
		return fmt.Errorf("%w: %s", kv.ErrNotStorable, what)
	default:
		return fmt.Errorf("%w: %s", kv.ErrAway, what)
	}
}

func tooLarge(err error) bool {
	return errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrTooManyOps) ||
		code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// refused tells whether the member answered, if only to refuse: then there is
// no reason to look for another one.
func refused(err error) bool {
	var e rpctypes.EtcdError
	return tooLarge(err) || errors.As(err, &e) && e.Code() != codes.Unavailable && e.Code() != codes.DeadlineExceeded && e.Code() != codes.Canceled
}

func code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return status.Code(err)
}

// fault says what a failed request tells of the member.
func (s *Store) fault(e *endpoint, err error) fault {
	f := fault{addr: e.addr}
	if what, out, ok := s.said(err); ok {
		f.what, f.wayOut = what, out
		return f
	}
	if trouble := e.noted(); trouble != nil {
		err = trouble
	}
	f.what, f.wayOut = broken(err)
	return f
}

// said is about what etcd itself answered.
func (s *Store) said(err error) (what, wayOut string, ok bool) {
	prefix := strings.TrimSuffix(s.prefix, "/")
	is := func(any ...error) bool {
		return slices.ContainsFunc(any, func(target error) bool { return errors.Is(err, target) })
	}
	switch {
	case is(errOtherCluster):
		return "is of another etcd cluster than the other members, or than before", "correct DOCKSTACK_STORE; after etcd was put back from a backup, restart dockstack (docker plugin disable and enable)", true
	case is(rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthToken) && s.user == "":
		return "wants a user", "set DOCKSTACK_STORE_USER and DOCKSTACK_STORE_PASSWORD_FILE", true
	case is(rpctypes.ErrAuthFailed):
		return fmt.Sprintf("does not take user %s with this password", s.user), "correct DOCKSTACK_STORE_USER or the content of DOCKSTACK_STORE_PASSWORD_FILE", true
	case is(rpctypes.ErrPermissionDenied):
		who := "whoever has our certificate"
		if s.user != "" {
			who = "user " + s.user
		}
		return fmt.Sprintf("does not let %s read and write below %s/", who, prefix),
			fmt.Sprintf("grant it: etcdctl role grant-permission ROLE --prefix=true readwrite %s/", prefix), true
	case is(rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrUnhealthy):
		return "has no leader", "most members must run and reach each other: see etcdctl endpoint status --cluster", true
	case is(rpctypes.ErrNoSpace):
		return "has a full database (alarm NOSPACE)", "compact and defragment it, then etcdctl alarm disarm", true
	case is(rpctypes.ErrCorrupt):
		return "says that its data is damaged (alarm CORRUPT)", "put the member back from the others or from a backup", true
	case tooLarge(err):
		return "finds the commit too large", "raise its --max-request-bytes and --max-txn-ops to the defaults or more", true
	case is(rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner)):
		return "is a learner", "promote it: etcdctl member promote", true
	case code(err) == codes.Unimplemented:
		return "is no etcd of version 3", "correct DOCKSTACK_STORE", true
	}
	var answer rpctypes.EtcdError
	if errors.As(err, &answer) && answer.Code() != codes.Unavailable && answer.Code() != codes.Canceled && answer.Code() != codes.DeadlineExceeded {
		return "says: " + strings.TrimPrefix(answer.Error(), "etcdserver: "), "see its log", true
	}
	return "", "", false
}

// broken is about what happened to the connection.
func broken(err error) (what, wayOut string) {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		notTLS    tls.RecordHeaderError
		hungUp    *hungUpError
	)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case errors.As(err, &dns):
		return "is a name that can't be resolved (" + dns.Err + ")", "correct DOCKSTACK_STORE or the host's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses connections", "start etcd there, or correct address and port in DOCKSTACK_STORE"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "can't be reached (" + last(err).Error() + ")", "check the network and the routes to it"
	case errors.As(err, &authority):
		return "shows a certificate of an authority that is not trusted", "set DOCKSTACK_STORE_CA to the file with its authority's certificate"
	case errors.As(err, &name):
		return "shows a certificate for another host (" + strings.TrimPrefix(name.Error(), "x509: ") + ")", "use an address in DOCKSTACK_STORE that the certificate names, or issue one for this address"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "shows a certificate that is not valid now (" + invalid.Detail + ")", "renew it, or correct the clock"
	case errors.As(err, &notTLS), errors.Is(err, errPlain):
		return "does not speak TLS", "write etcd:// instead of etcds:// in DOCKSTACK_STORE"
	case errors.Is(err, errSecure):
		return "speaks nothing but TLS", "write etcds:// instead of etcd:// in DOCKSTACK_STORE, and set DOCKSTACK_STORE_CA"
	case strings.Contains(err.Error(), "remote error: tls: "):
		_, alert, _ := strings.Cut(err.Error(), "remote error: tls: ")
		return "does not take our certificate (" + alert + ")", "set DOCKSTACK_STORE_CERT and DOCKSTACK_STORE_KEY to one that its --trusted-ca-file vouches for"
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded), code(err) == codes.DeadlineExceeded, timeout != nil && timeout.Timeout():
		return "does not answer", "check that host, and the network and firewalls on the way"
	case errors.As(err, &hungUp):
		return "hangs up (" + hungUp.err.Error() + ")", "check that it is an etcd, and see its log"
	}
	if st, ok := status.FromError(err); ok {
		return "fails (" + st.Message() + ")", "see its log"
	}
	return "fails (" + err.Error() + ")", "see its log"
}

// last is the innermost error.
func last(err error) error {
	for {
		in := errors.Unwrap(err)
		if in == nil {
			return err
		}
		err = in
	}
}
