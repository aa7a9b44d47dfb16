package link

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// certainty is whether a rule takes the datagram.
type certainty int

const (
	not certainty = iota
	maybe
	yes
)

// match is whether a rule takes the datagram, and what it decides; nothing where
// verdict is nil.
type match struct {
	certainty certainty
	verdict   *expr.Verdict
}

// matches evaluates a rule as the kernel does, with registers; what is not known
// is not in them.
func (w *walk) matches(t *nftables.Table, r *nftables.Rule) (match, error) {
	m := match{certainty: yes}
	regs := map[uint32][]byte{}
	for _, e := range r.Exprs {
		c := yes
		switch e := e.(type) {
		case *expr.Counter, *expr.Log, *expr.Notrack:
		case *expr.Meta:
			regs[e.Register] = w.meta(e)
		case *expr.Payload:
			regs[e.DestRegister] = w.payload(e)
		case *expr.Ct:
			regs[e.Register] = nil
			if e.Key == expr.CtKeySTATE {
				regs[e.Register] = binary.NativeEndian.AppendUint32(nil, expr.CtStateBitNEW)
			}
		case *expr.Bitwise:
			regs[e.DestRegister] = masked(regs[e.SourceRegister], e)
		case *expr.Immediate:
			regs[e.Register] = e.Data
		case *expr.Cmp:
			c = compared(regs[e.Register], e.Op, e.Data)
		case *expr.Range:
			c = between(regs[e.Register], e)
		case *expr.Lookup:
			var err error
			var isMap bool
			if c, isMap, err = w.lookup(t, regs[e.SourceRegister], e); err != nil {
				return m, err
			}
			if isMap {
				m.verdict = &expr.Verdict{Kind: expr.VerdictQueue} // it may hold verdicts
			}
		case *expr.Match:
			c = extension(e)
		case *expr.Reject:
			m.verdict = &expr.Verdict{Kind: expr.VerdictDrop}
		case *expr.Verdict:
			m.verdict = e
		case *expr.Target:
			switch e.Name {
			case "REJECT", "DROP":
				m.verdict = &expr.Verdict{Kind: expr.VerdictDrop}
			case "LOG", "NFLOG", "MARK", "CONNMARK":
			default:
				m.verdict = &expr.Verdict{Kind: expr.VerdictQueue}
			}
		default:
			c = maybe
		}
		if m.certainty = min(m.certainty, c); m.certainty == not {
			break
		}
	}
	return m, nil
}

func (w *walk) meta(e *expr.Meta) []byte {
	if e.SourceRegister {
		return nil
	}
	switch e.Key {
	case expr.MetaKeyL4PROTO:
		return []byte{unix.IPPROTO_UDP}
	case expr.MetaKeyNFPROTO:
		if w.d.To.Is4() {
			return []byte{unix.NFPROTO_IPV4}
		}
		return []byte{unix.NFPROTO_IPV6}
	case expr.MetaKeyIIFNAME:
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, w.d.In)
		return name
	default:
		return nil
	}
}

// payload returns a part of the packet, nil where that isn't known.
func (w *walk) payload(e *expr.Payload) []byte {
	if e.OperationType != expr.PayloadLoad {
		return nil
	}
	known := map[uint32][]byte{}
	switch {
	case e.Base == expr.PayloadBaseTransportHeader:
		known[2] = binary.BigEndian.AppendUint16(nil, w.d.Port)
	case e.Base == expr.PayloadBaseNetworkHeader && w.d.To.Is4():
		known[9], known[12], known[16] = []byte{unix.IPPROTO_UDP}, w.d.From.AsSlice(), w.d.To.AsSlice()
	case e.Base == expr.PayloadBaseNetworkHeader:
		known[6], known[8], known[24] = []byte{unix.IPPROTO_UDP}, w.d.From.AsSlice(), w.d.To.AsSlice()
	}
	for at, b := range known {
		if e.Offset >= at && e.Offset+e.Len <= at+uint32(len(b)) {
			return b[e.Offset-at : e.Offset-at+e.Len]
		}
	}
	return nil
}

func masked(b []byte, e *expr.Bitwise) []byte {
	if b == nil || len(e.Mask) != len(b) || len(e.Xor) != len(b) {
		return nil
	}
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i]&e.Mask[i] ^ e.Xor[i]
	}
	return out
}

func compared(b []byte, op expr.CmpOp, with []byte) certainty {
	// A name may be compared by its beginning: "eth*".
	if len(b) < len(with) || len(with) == 0 {
		return maybe
	}
	n := bytes.Compare(b[:len(with)], with)
	return sure(map[expr.CmpOp]bool{
		expr.CmpOpEq: n == 0, expr.CmpOpNeq: n != 0, expr.CmpOpLt: n < 0, expr.CmpOpLte: n <= 0, expr.CmpOpGt: n > 0, expr.CmpOpGte: n >= 0,
	}[op])
}

func sure(so bool) certainty {
	if so {
		return yes
	}
	return not
}

func between(b []byte, e *expr.Range) certainty {
	if b == nil || len(b) != len(e.FromData) || len(b) != len(e.ToData) {
		return maybe
	}
	in := bytes.Compare(b, e.FromData) >= 0 && bytes.Compare(b, e.ToData) <= 0
	return sure(in == (e.Op == expr.CmpOpEq))
}

// lookup is whether a set has what a register has. What a map makes of it is not
// known.
func (w *walk) lookup(t *nftables.Table, b []byte, e *expr.Lookup) (c certainty, isMap bool, err error) {
	set, err := w.conn.GetSetByName(t, e.SetName)
	if err != nil || set.IsMap || set.Concatenation || b == nil {
		return maybe, err == nil && set.IsMap, err
	}
	elements, err := w.conn.GetSetElements(set)
	if err != nil {
		return maybe, false, err
	}
	in := false
	if set.Interval {
		slices.SortFunc(elements, func(a, b nftables.SetElement) int { return bytes.Compare(a.Key, b.Key) })
	}
	for _, el := range elements {
		switch order := bytes.Compare(el.Key, b); {
		case len(el.Key) != len(b):
			return maybe, false, nil
		case set.Interval && order <= 0:
			in = !el.IntervalEnd
		case !set.Interval && order == 0:
			in = true
		}
	}
	return sure(in != e.Invert), false, nil
}

// extension is what iptables' own matches say.
func extension(e *expr.Match) certainty {
	if e.Name == "comment" {
		return yes
	}
	i, ok := e.Info.(*xt.ConntrackMtinfo3)
	if !ok || i.MatchFlags != uint16(xt.ConntrackState) && i.MatchFlags != uint16(xt.ConntrackState|xt.ConntrackStateAlias) {
		return maybe
	}
	isNew := i.StateMask&xtStateNew != 0
	return sure(isNew == (i.InvertFlags&uint16(xt.ConntrackState) == 0))
}

// xtStateNew is XT_CONNTRACK_STATE_BIT(IP_CT_NEW).
const xtStateNew = 1 << 3
