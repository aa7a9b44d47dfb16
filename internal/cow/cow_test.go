package cow

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// Every map ever made stays as it was, and is what a plain map would be.
func TestMapsStayAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type made struct {
			is   Map[int, int]
			want map[int]int
		}
		all := []made{{want: map[int]int{}}}
		for range rapid.IntRange(1, 10).Draw(t, "changes") {
			from := all[rapid.IntRange(0, len(all)-1).Draw(t, "from")]
			e, want := from.is.Edit(), maps.Clone(from.want)
			for range rapid.IntRange(0, 20).Draw(t, "steps") {
				k, v := rapid.IntRange(0, 3000).Draw(t, "key"), rapid.Int().Draw(t, "value")
				if rapid.Bool().Draw(t, "set") {
					e.Set(k, v)
					want[k] = v
				} else {
					e.Delete(k)
					delete(want, k)
				}
				if e.Get(k) != want[k] {
					t.Fatalf("while it is made, %d is %d, want %d", k, e.Get(k), want[k])
				}
			}
			all = append(all, made{is: e.Done(), want: want})
		}
		for i, m := range all {
			if got := maps.Collect(m.is.All); !maps.Equal(got, m.want) {
				t.Fatalf("map %d is %v, want %v", i, got, m.want)
			}
			for k := range m.want {
				if m.is.Get(k) != m.want[k] {
					t.Fatalf("map %d: %d is %d, want %d", i, k, m.is.Get(k), m.want[k])
				}
			}
		}
	})
}
