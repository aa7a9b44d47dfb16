package admin

import (
	"context"
	"net/http"
	"strings"
)

// The calls of the API.
const (
	callVersion  = "GET /v1/version"
	callStatus   = "GET /v1/status"
	callLeases   = "GET /v1/leases"
	callPools    = "GET /v1/pools"
	callHosts    = "GET /v1/hosts"
	callReserve  = "POST /v1/reserve"
	callRelease  = "POST /v1/release"
	callRename   = "POST /v1/rename"
	callImport   = "POST /v1/import"
	callForget   = "POST /v1/hosts/forget"
	callBackup   = "GET /v1/backup"
	callRestore  = "POST /v1/restore"
	callAsk      = "POST /v1/dns"
	callRecords  = "GET /v1/records"
	callAdd      = "POST /v1/records"
	callRemove   = "POST /v1/records/remove"
	callLook     = "GET /v1/doctor"
	callFix      = "POST /v1/doctor"
	callSamples  = "GET /v1/samples"
	callWatch    = "GET /v1/watch"
	queryDryRun  = "dry_run"
	queryDryMode = "true"
)

// versionAnswer is what callVersion says.
type versionAnswer struct {
	Version string `json:"version"`
}

// done is the answer of calls that have nothing to tell.
type done struct{}

func (s *Server) handleAll() {
	s.handle(callVersion, callWithin, func(context.Context, *http.Request) (any, error) {
		return versionAnswer{s.version}, nil
	})
	s.handle(callStatus, callWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		out := s.backend.Status(ctx)
		out.fill()
		return out, nil
	})
	s.handle(callLeases, callWithin, s.leases)
	s.handle(callPools, callWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		return listed(s.backend.Pools(ctx))
	})
	s.handle(callHosts, callWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		return listed(s.backend.Hosts(ctx))
	})
	s.handle(callReserve, callWithin, s.reserve)
	s.handle(callRelease, callWithin, s.release)
	s.handle(callRename, callWithin, s.rename)
	s.handleFile(callImport, MaxImport, s.take)
	s.handle(callForget, callWithin, s.forget)
	s.handleFile(callRestore, MaxRestore, s.restore)
	s.handle(callAsk, callWithin, s.ask)
	s.handle(callRecords, callWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		return listed(s.backend.Records(ctx))
	})
	s.handle(callAdd, callWithin, s.addRecord)
	s.handle(callRemove, callWithin, s.removeRecord)
	s.handle(callLook, fileWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		return reported(s.backend.Doctor(ctx, DoctorLook))
	})
	s.handle(callFix, fileWithin, func(ctx context.Context, _ *http.Request) (any, error) {
		return reported(s.backend.Doctor(ctx, DoctorFix))
	})
	s.handle(callSamples, callWithin, func(context.Context, *http.Request) (any, error) {
		return listed(s.backend.Samples(), nil)
	})
	s.stream(callBackup, s.backup)
	s.stream(callWatch, s.watch)
}

// listed is a list that is never null on the wire.
func listed[T any](list []T, err error) (any, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}

// wayOf is the call's way in a URL.
func wayOf(call string) (method, way string) {
	method, way, _ = strings.Cut(call, " ")
	return method, way
}

func (s *Server) leases(ctx context.Context, r *http.Request) (any, error) {
	filter, err := ParseFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	match, err := s.onLoneHost(ctx, filter)
	if err != nil {
		return nil, err
	}
	found, err := s.backend.Leases(ctx, match)
	if err == nil && len(found) == 0 {
		err = s.explainNone(ctx, filter)
	}
	return listed(found, err)
}

func (s *Server) release(ctx context.Context, r *http.Request) (any, error) {
	var in Target
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	pools, err := s.holders(ctx, in)
	if err != nil {
		return nil, err
	}
	return done{}, s.backend.Release(ctx, in.Name, pools...)
}

func (s *Server) rename(ctx context.Context, r *http.Request) (any, error) {
	var in Rename
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if err := checkName(in.To); err != nil {
		return nil, err
	}
	pools, err := s.holders(ctx, in.Target)
	if err != nil {
		return nil, err
	}
	return done{}, s.backend.RenameLease(ctx, in.Name, in.To, pools...)
}

// take is the import.
func (s *Server) take(ctx context.Context, r *http.Request) (any, error) {
	in, err := readImport(r)
	if err != nil {
		return nil, err
	}
	for i := range in.Reservations {
		// One error for each of a thousand lines helps nobody: these are about
		// the network that all of them name.
		if in.Reservations[i].Network == "" {
			continue
		}
		if err := s.findPool(ctx, &in.Reservations[i]); err != nil {
			return nil, err
		}
	}
	plan, err := s.backend.Import(ctx, in)
	plan.fill()
	if err != nil && len(plan.Clashes) > 0 {
		return nil, &Error{Code: CodeClash, Text: err.Error(), Plan: &plan}
	}
	return plan, err
}

// fill has no list be null on the wire.
func (s *Status) fill() {
	if s.Hosts == nil {
		s.Hosts = []Host{}
	}
	if s.Pools == nil {
		s.Pools = []Pool{}
	}
	if s.Problems == nil {
		s.Problems = []string{}
	}
	if s.DNS.Listeners == nil {
		s.DNS.Listeners = []DNSListener{}
	}
	if s.DNS.Forwarders == nil {
		s.DNS.Forwarders = []string{}
	}
}

// reported is a report that has no null on the wire.
func reported(r Report, err error) (any, error) {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r, err
}

// fill has no list be null on the wire.
func (p *Plan) fill() {
	for _, list := range []*[]Reservation{&p.New, &p.Same} {
		if *list == nil {
			*list = []Reservation{}
		}
	}
	if p.Replaced == nil {
		p.Replaced = []Replaced{}
	}
	if p.Records == nil {
		p.Records = []Record{}
	}
	if p.Clashes == nil {
		p.Clashes = []Clash{}
	}
}

func (s *Server) forget(ctx context.Context, r *http.Request) (any, error) {
	var in struct {
		Host string `json:"host"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	host, err := s.findHost(ctx, in.Host)
	if err != nil {
		return nil, err
	}
	return host, s.backend.ForgetHost(ctx, host.ID)
}

func (s *Server) restore(ctx context.Context, r *http.Request) (any, error) {
	mode := RestoreReal
	switch given := r.URL.Query()[queryDryRun]; {
	case len(given) == 1 && given[0] == queryDryMode:
		mode = RestoreDry
	case len(given) > 0:
		return nil, Errorf(CodeUsage, "%s is `true` or not there", queryDryRun)
	}
	out, err := s.backend.Restore(ctx, r.Body, mode)
	for _, list := range []*[]string{&out.Pools, &out.Kept, &out.Clashes} {
		if *list == nil {
			*list = []string{}
		}
	}
	if err != nil && len(out.Clashes) > 0 {
		return nil, &Error{Code: CodeClash, Text: err.Error(), Restore: &out}
	}
	return out, err
}

func (s *Server) ask(ctx context.Context, r *http.Request) (any, error) {
	var in Question
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, Errorf(CodeUsage, "a question needs a name")
	}
	return s.backend.Ask(ctx, in)
}

func (s *Server) addRecord(ctx context.Context, r *http.Request) (any, error) {
	var in Record
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	return s.backend.AddRecord(ctx, in)
}

func (s *Server) removeRecord(ctx context.Context, r *http.Request) (any, error) {
	var in Record
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, Errorf(CodeUsage, "a record to remove needs a name")
	}
	return listed(s.backend.RemoveRecord(ctx, in))
}
