package page

import (
	"slices"
	"strings"

	"github.com/dockstack/dockstack/internal/admin"
)

// eventList is the events that a view shows, the newest first.
type eventList struct {
	Rows []admin.Event
	// Found is how many fit, Known how many there are at all.
	Found, Known int
}

func findEvents(all []admin.Event, v view) eventList {
	list := eventList{Known: len(all)}
	words := strings.Fields(strings.ToLower(v.About))
	for _, e := range slices.Backward(all) {
		if v.Kind != "" && v.Kind != e.Kind || !about(e, words) {
			continue
		}
		if list.Found++; len(list.Rows) < v.Events {
			list.Rows = append(list.Rows, e)
		}
	}
	return list
}

func about(e admin.Event, words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := e.Text + " " + e.Name + " " + e.Network + " " + e.Host + " " + e.Kind
	if e.Address.IsValid() {
		text += " " + e.Address.String()
	}
	text = strings.ToLower(text)
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
