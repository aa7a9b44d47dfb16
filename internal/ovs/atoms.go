package ovs

// The database's values as JSON has them (RFC 7047, 5.1): an atom stands for
// itself, ["set", [...]] for several or none, ["map", [[k, v], ...]] for pairs,
// ["uuid", "..."] for a reference.

// tagged splits ["tag", rest].
func tagged(v any) (tag string, rest any) {
	list, ok := v.([]any)
	if !ok || len(list) != 2 {
		return "", nil
	}
	tag, _ = list[0].(string)
	return tag, list[1]
}

// text is a string, "" when there is none.
func text(v any) string {
	s, _ := v.(string)
	return s
}

// number is an integer, and whether there is one.
func number(v any) (int, bool) {
	f, ok := v.(float64)
	return int(f), ok
}

// pairs is a map of strings.
func pairs(v any) map[string]string {
	out := map[string]string{}
	tag, rest := tagged(v)
	list, ok := rest.([]any)
	if tag != "map" || !ok {
		return out
	}
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			continue
		}
		out[text(pair[0])] = text(pair[1])
	}
	return out
}

// refs is a set of references: one stands alone, several in a set.
func refs(v any) []string {
	tag, rest := tagged(v)
	switch tag {
	case "uuid":
		return []string{text(rest)}
	case "set":
		var out []string
		list, _ := rest.([]any)
		for _, item := range list {
			out = append(out, refs(item)...)
		}
		return out
	default:
		return nil
	}
}
