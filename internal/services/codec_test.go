package services

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"project":"shop","service":"web","on":[{"pools":["172.16.0.0/16"],"aliases":["www","WWW"]}],"ports":["80/tcp","53/udp"],"out":true}`))
	f.Add([]byte(`{"on":[{"pools":[]},{"aliases":["x"]}],"ports":["0/tcp","80","80/quic","99999/tcp"]}`))
	f.Add([]byte(`{"service":"\u0000\ud800","on":[{"pools":["p"],"aliases":["a b","\"","<>","é"]}]}`))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, value []byte) {
		facts, err := decode(value)
		if err != nil {
			return
		}
		again := facts.encode()
		if len(again) > maxValue {
			t.Fatalf("%d bytes become %d", len(value), len(again))
		}
		read, err := decode(again)
		if err != nil {
			t.Fatalf("what is written can't be read: %v: %s", err, again)
		}
		if twice := read.encode(); !bytes.Equal(twice, again) {
			t.Fatalf("%s\nbecomes\n%s", again, twice)
		}
		x := newIndex(label)
		e := x.edit()
		if err := e.put("h", "c", value); err != nil {
			t.Fatal(err)
		}
		s := e.done()
		s.Names(func(name string) bool {
			for i, m := range s.Members(name) {
				if at := s.Members(name).At(i); at.Container != "c" || len(at.Pools) == 0 && m.on >= 0 {
					t.Fatalf("%q leads to %+v", name, at)
				}
			}
			return true
		})
		e = x.edit()
		e.remove("h", "c")
		if left := answers(e.done()); left != "" || len(x.shared) != 0 {
			t.Fatalf("left behind: %s", left)
		}
	})
}

// However much a container has, what is written of it can be read.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wild := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\<>é]{100,253}`))
		f := Facts{Project: wild.Draw(t, "project"), Service: wild.Draw(t, "service")}
		for range rapid.IntRange(0, 8).Draw(t, "networks") {
			f.On = append(f.On, On{Pools: rapid.SliceOfN(wild, 0, 3).Draw(t, "pools"), Aliases: rapid.SliceOfN(wild, 0, 6).Draw(t, "aliases")})
		}
		for p := range rapid.IntRange(0, 1000).Draw(t, "ports") {
			f.Ports = append(f.Ports, Port{Number: uint16(p), Proto: "tcp"})
		}
		value := f.encode()
		read, err := decode(value)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(value), err)
		}
		if !bytes.Equal(read.encode(), value) {
			t.Fatal("reading it makes a difference")
		}
	})
}

func TestLargestFacts(t *testing.T) {
	name := func(i int) string {
		return strings.Repeat(`"\`, 124) + string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	f := Facts{Project: name(0), Service: name(1)}
	for i := range maxNetworks {
		on := On{}
		for j := range maxPools {
			on.Pools = append(on.Pools, name(i*maxPools+j))
		}
		for j := range maxAliases {
			on.Aliases = append(on.Aliases, name(j))
		}
		f.On = append(f.On, on)
	}
	value := f.encode()
	if _, err := decode(value); err != nil {
		t.Errorf("%d bytes: %v", len(value), err)
	}
}
