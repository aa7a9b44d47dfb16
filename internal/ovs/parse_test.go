package ovs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDropsAreAddedUpByCookie(t *testing.T) {
	dump := `OFPST_FLOW reply (OF1.5) (xid=0x2):
 cookie=0xd502000000000005, duration=0.013s, table=10, n_packets=3, n_bytes=180, idle_age=26, priority=1,in_port=5 actions=drop
 cookie=0xd502000000000005, duration=0.013s, table=10, n_packets=4, n_bytes=180, idle_age=26, priority=130,icmp6,in_port=5,icmp_type=134 actions=drop
 cookie=0xd502000000000005, duration=0.013s, table=10, n_packets=99, n_bytes=180, priority=100,ip,in_port=5 actions=resubmit(,30)
 cookie=0xd502000000000006, duration=0.013s, table=10, n_packets=0, n_bytes=0, priority=1,in_port=6 actions=drop
`
	want := map[uint64]uint64{0xd502000000000005: 7, 0xd502000000000006: 0}
	if got := parseDrops(dump); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParseDrops(f *testing.F) {
	f.Add(" cookie=0x1, n_packets=3, priority=1 actions=drop\n")
	f.Add("=,=, actions=drop")
	f.Fuzz(func(_ *testing.T, dump string) { parseDrops(dump) })
}

func TestDatabaseValues(t *testing.T) {
	var row map[string]any
	text1 := `{"external_ids":["map",[["owner","dockstack"],["a","b"]]],"none":["map",[]],"ports":["set",[["uuid","1"],["uuid","2"]]],
		"port":["uuid","3"],"error":["set",[]],"ofport":5,"name":"x"}`
	if err := json.Unmarshal([]byte(text1), &row); err != nil {
		t.Fatal(err)
	}
	if got := pairs(row["external_ids"]); got["owner"] != "dockstack" || got["a"] != "b" || len(got) != 2 {
		t.Errorf("map: %v", got)
	}
	if got := pairs(row["none"]); len(got) != 0 {
		t.Errorf("empty map: %v", got)
	}
	if got := refs(row["ports"]); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("references: %v", got)
	}
	if got := refs(row["port"]); !slices.Equal(got, []string{"3"}) {
		t.Errorf("one reference: %v", got)
	}
	if text(row["error"]) != "" || text(row["name"]) != "x" {
		t.Error("strings")
	}
	if n, given := number(row["ofport"]); n != 5 || !given {
		t.Error("number")
	}
	if _, given := number(row["error"]); given {
		t.Error("an empty set is no number")
	}
}

func FuzzDatabaseValues(f *testing.F) {
	f.Add([]byte(`["map",[["a","b"],["c"]]]`))
	f.Add([]byte(`["set",[["uuid","1"],["set",[["uuid",2]]]]]`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var v any
		if json.Unmarshal(b, &v) != nil {
			return
		}
		text(v)
		number(v)
		pairs(v)
		refs(v)
	})
}

func TestMessages(t *testing.T) {
	reply := make([]byte, 8+24)
	binary.BigEndian.PutUint16(reply, ofAggregate)
	binary.BigEndian.PutUint32(reply[24:], 1234)
	if n, err := aggregateReply(reply); err != nil || n != 1234 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := aggregateReply(nil); err == nil {
		t.Error("an error message counts as an answer")
	}
	m, err := readMessage(bytes.NewReader([]byte{6, ofEcho, 0, 10, 0, 0, 0, 7, 'h', 'i'}))
	if err != nil || m.kind != ofEcho || m.xid != 7 || string(m.body) != "hi" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := readMessage(bytes.NewReader([]byte{6, 0, 0, 4, 0, 0, 0, 0})); err == nil || !strings.Contains(err.Error(), "length 4") {
		t.Errorf("a length less than the header's: %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte{6, 0, 0, 16, 0, 0, 0, 16, 0, 1, 0, 8, 0, 0, 0, 0x50})
	f.Add([]byte{4, 19, 0, 40, 0, 0, 0, 1, 0, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			if len(m.body) > len(b) {
				t.Fatalf("a body of %d bytes out of %d", len(m.body), len(b))
			}
			_, _ = aggregateReply(m.body)
		}
	})
}
