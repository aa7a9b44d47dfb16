package consistency

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxHosts bounds the hosts of a run: the model has bits for them.
const maxHosts = 5

// none is the bit of "no address": no pool gives its first one.
const none = addrs(1)

// addrs is a set of a small pool's addresses, by their place in it.
type addrs uint32

func bit(subnet netip.Prefix, a netip.Addr) addrs {
	if !a.IsValid() {
		return 0
	}
	raw, base := a.As4(), subnet.Addr().As4()
	return 1 << (raw[3] - base[3])
}

// state is what the model knows of one name. What the store has may be unknown,
// because a request's outcome is; then it is what the store may have.
type state struct {
	// holder is the host that has the name, -1: none.
	holder int8
	// loose: holder may have let go, or another may have come after it.
	loose bool
	// maybe are hosts that may have the name, or will write that they have.
	maybe uint8
	// at are the addresses one of which the name has; none is one of them.
	at addrs
	// ran are the addresses with which each host may start the name alone.
	ran [maxHosts]addrs
	// dead are the hosts whose mark is gone.
	dead uint8
	// reserved: 0 no, 1 yes, 2 maybe.
	reserved uint8
}

func (s *state) isDead(h int8) bool { return s.dead&(1<<h) != 0 }
func (s *state) may(h int) bool     { return s.maybe&(1<<h) != 0 }

// firm tells whether nobody may take the name from the one that has it.
func (s *state) firm() bool { return s.holder >= 0 && !s.loose && !s.isDead(s.holder) }

func (s *state) takeable(h int) bool { return !s.firm() || s.holder == int8(h) }

// lose has the name's lease gone.
func (s *state) lose() {
	s.holder, s.loose, s.at, s.reserved = -1, false, none, 0
}

// mayLose has it gone, maybe.
func (s *state) mayLose() {
	s.at |= none
	s.loose = s.loose || s.holder >= 0
	if s.reserved == 1 {
		s.reserved = 2
	}
}

// modelOf is the model of one name in its pool.
func modelOf(name string, subnet netip.Prefix, dead uint8) porcupine.Model {
	all := addrs(0)
	for a := subnet.Addr(); subnet.Contains(a); a = a.Next() {
		all |= bit(subnet, a)
	}
	return porcupine.Model{
		Init: func() any { return state{holder: -1, at: none, dead: dead} },
		Step: func(from, input, _ any) (bool, any) {
			s, e := from.(state), input.(event)
			st := step{state: s, e: e, addr: bit(subnet, e.addr), got: bit(subnet, e.got), all: all}
			ok := st.take(e.name == name)
			return ok, st.state
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
		DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

// step is one event's effect.
type step struct {
	state
	e              event
	addr, got, all addrs
}

// take tells whether the event may happen in the state, and brings it to the
// next.
func (s *step) take(own bool) bool {
	switch {
	case s.e.kind == dies:
		s.dead |= 1 << s.e.host
		return true
	case s.e.kind == returns:
		s.dead &^= 1 << s.e.host
		return true
	case s.e.kind == stops:
		s.stop()
		return true
	case !own:
		return s.foreign()
	}
	switch s.e.kind {
	case starts:
		return s.start()
	case reserves, imports:
		return s.reserve()
	case releases:
		return s.giveUp()
	case comes:
		return s.come()
	case unreserves:
		switch {
		case s.e.out == done:
			s.reserved = 0
		case s.reserved == 1:
			s.reserved = 2
		}
		return true
	case writes:
		return s.write()
	case ends:
		return s.end()
	case stops, dies, returns: // they were taken above
	}
	return false
}

// fits tells whether the name may get the address.
func (s *step) fits() bool { return s.e.addr.IsValid() || s.at&(s.got|none) != 0 }

func (s *step) start() bool {
	h := s.e.host
	switch s.e.out {
	case done:
		if s.isDead(int8(h)) || !s.takeable(h) || !s.fits() {
			return false
		}
		s.have(h)
		return true
	case elsewhere:
		return s.e.by != h && (s.holder == int8(s.e.by) || s.may(s.e.by))
	case alone:
		sure := !s.isDead(int8(h)) && s.takeable(h) && s.fits()
		if !sure && s.ran[h]&s.got == 0 {
			return false
		}
		s.mayHave(h, sure)
		s.at |= s.got
		s.ran[h] |= s.got
		return true
	case unknown:
		may := s.addr
		if may == 0 && s.at&none != 0 {
			may = s.all
		}
		s.mayHave(h, s.takeable(h))
		s.at |= may
		s.ran[h] |= s.at &^ none
		return true
	case refused:
	}
	return true
}

// have gives the host the name, with the address.
func (s *step) have(h int) {
	if s.e.addr.IsValid() && s.at&s.got == 0 && s.reserved == 1 {
		s.reserved = 1 // it moves with the name
	}
	s.holder, s.loose, s.at = int8(h), false, s.got
	s.maybe &^= 1 << h
	s.ran[h] |= s.got
}

// mayHave says that the host may have it.
func (s *step) mayHave(h int, sure bool) {
	s.maybe |= 1 << h
	if sure && s.holder >= 0 && s.holder != int8(h) {
		s.loose = true
	}
}

// stop is a release, of this name's address or what was it.
func (s *step) stop() {
	if s.holder != int8(s.e.host) || s.at&s.addr == 0 {
		return
	}
	if s.e.out == done && s.at == s.addr {
		s.holder, s.loose = -1, false
		s.maybe &^= 1 << s.e.host
		return
	}
	s.loose = true
}

func (s *step) reserve() bool {
	switch s.e.out {
	case done:
		if s.at&s.got == 0 {
			// It gets another address, or its first: nobody has it.
			if s.firm() || s.e.addr == (netip.Addr{}) && s.at&none == 0 {
				return false
			}
			s.holder, s.loose = -1, false
		}
		s.at, s.reserved = s.got, 1
		s.ran[s.e.host] |= s.got
	case alone, unknown:
		may := s.addr | s.got
		if may == 0 && s.at&none != 0 {
			may = s.all
		}
		s.at |= may
		s.ran[s.e.host] |= s.at &^ none
		if s.reserved == 0 {
			s.reserved = 2
		}
	case refused, elsewhere:
	}
	return true
}

// giveUp is an operator's release.
func (s *step) giveUp() bool {
	switch s.e.out {
	case done:
		if s.firm() || s.at&^none == 0 {
			return false
		}
		s.lose()
	case alone, unknown:
		if !s.firm() {
			s.mayLose()
		}
	case refused, elsewhere:
	}
	return true
}

// come is an operator's rename to the name: it gets what another had, which
// only the store knows.
func (s *step) come() bool {
	may := s.all &^ none
	switch s.e.out {
	case done:
		if s.at&none == 0 {
			return false
		}
		s.holder, s.loose, s.at, s.reserved = -1, false, may, 2
	case alone, unknown:
		if s.at&none != 0 {
			s.at, s.reserved = s.at|may, 2
		}
	case refused, elsewhere:
	}
	for h := range s.ran {
		s.ran[h] |= may // whoever ran it under its old name
	}
	return true
}

// write is what a host wrote of what it had decided alone, or with a stop. It
// leaves a reservation as it is.
func (s *step) write() bool {
	h := s.e.host
	if s.at&(s.got|none) == 0 || s.reserved != 2 && s.e.reserved != (s.reserved == 1) {
		return false
	}
	if s.e.by != h {
		// It let go, or somebody's lease got another mark.
		if s.e.by < 0 && s.holder == int8(h) {
			s.holder, s.loose = -1, false
		}
		s.at = s.got
		return true
	}
	if s.isDead(int8(h)) || !s.takeable(h) {
		return false
	}
	s.have(h)
	return true
}

// end compares with what the store has at the end.
func (s *step) end() bool {
	at := s.got
	if at == 0 {
		at = none
	}
	switch {
	case s.at&at == 0:
		return false
	case s.reserved != 2 && (s.reserved == 1) != s.e.reserved:
		return false
	case s.e.by < 0:
		return !s.firm()
	}
	return s.holder == int8(s.e.by) || s.may(s.e.by)
}

// foreign is another name's event.
func (s *step) foreign() bool {
	switch s.e.kind {
	case starts, reserves, imports, writes:
	default:
		return true
	}
	switch s.e.out {
	case done:
		if s.at&s.got == 0 {
			return true
		}
		if s.at == s.got {
			if s.firm() || s.reserved == 1 {
				return false
			}
			s.lose()
			return true
		}
		s.mayLose()
		s.at &^= s.got
	case alone, unknown:
		may := s.addr | s.got
		if !s.firm() && s.reserved != 1 && (may == 0 || s.at&may != 0) {
			s.mayLose()
		}
	case refused, elsewhere:
	}
	return true
}

// checkName checks one name's history, and returns how many events it has.
func checkName(t failer, pool testPool, name string, all []event, dead uint8) int {
	had := map[netip.Addr]bool{}
	for _, e := range all {
		if e.pool != pool.id || e.name != name {
			continue
		}
		had[e.addr], had[e.got] = true, true
		if e.kind == comes && e.out != refused { // with any address
			for a := pool.subnet.Addr(); pool.subnet.Contains(a); a = a.Next() {
				had[a] = true
			}
		}
	}
	delete(had, netip.Addr{})
	var ops []porcupine.Operation
	for _, e := range all {
		if !concerns(e, pool.id, name, had) {
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: e, Call: e.call, Return: e.ret})
	}
	model := modelOf(name, pool.subnet, dead)
	switch res, info := porcupine.CheckOperationsVerbose(model, ops, 30*time.Second); res {
	case porcupine.Ok:
	case porcupine.Unknown:
		t.Errorf("%s in %s: %d events took too long to check", name, pool.id, len(ops))
	case porcupine.Illegal:
		t.Errorf("%s in %s: no order of these is as promised\n%s", name, pool.id, explain(model, ops, info))
	}
	return len(ops)
}

// concerns tells whether an event matters for a name that had those addresses.
func concerns(e event, pool, name string, had map[netip.Addr]bool) bool {
	switch {
	case e.kind == dies || e.kind == returns:
		return true
	case e.pool != pool || e.out == refused:
		return false
	case e.name == name:
		return true
	case e.kind == stops:
		return had[e.addr]
	case e.kind == starts || e.kind == reserves || e.kind == imports || e.kind == writes:
		return e.out != elsewhere && (had[e.got] || had[e.addr] || e.out == unknown)
	}
	return false
}

// explain is the longest part that can be put in order, and what comes next.
func explain(model porcupine.Model, ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, parts := range info.PartialLinearizations() {
		for _, p := range parts {
			if len(p) > len(longest) {
				longest = p
			}
		}
	}
	var b strings.Builder
	s := model.Init()
	for i, n := range longest {
		_, s = model.Step(s, ops[n].Input, nil)
		if i >= len(longest)-15 {
			fmt.Fprintf(&b, "   %v\n", ops[n].Input)
		}
	}
	fmt.Fprintf(&b, "   then %s, and none of\n", model.DescribeState(s))
	shown := 0
	for n, op := range ops {
		if !slices.Contains(longest, n) && shown < 10 {
			shown++
			fmt.Fprintf(&b, " ! %v\n", op.Input)
		}
	}
	return b.String()
}

// failer is a testing.T, or what stands for one.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Log(args ...any)
	Logf(format string, args ...any)
	Failed() bool
	Context() context.Context
}

var _ failer = (*testing.T)(nil)
