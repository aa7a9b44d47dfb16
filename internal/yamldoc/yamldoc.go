// Package yamldoc reads YAML as people write it by hand: mappings in their
// order, with anchors and merge keys resolved, and the line of everything, so
// that an error can name it.
package yamldoc

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What one document may cost: aliases and merge keys make a small file large. A
// file without them has fewer keys than bytes.
const (
	morePairs = 200_000
	maxDepth  = 32
)

// ErrNoMapping says that what should be a mapping is something else.
var ErrNoMapping = errors.New("is no mapping")

// Doc is a document that has been read.
type Doc struct {
	// File is what errors call it.
	File string
	top  *yaml.Node
	// left is how many keys may yet be read.
	left int
}

// Value is a place in a document. The zero Value is a key without a value.
type Value struct {
	doc *Doc
	// node is what stands there, aliases resolved; alias is the alias itself.
	node, alias *yaml.Node
}

// Pair is a key of a mapping and what it has.
type Pair struct {
	Key string
	// Line is where the key stands. One that came through a merge key stands
	// where it was written.
	Line  int
	Value Value
	// Merged: it came through a merge key.
	Merged bool
}

// Parse reads one document whose top is a mapping.
func Parse(file string, data []byte) (*Doc, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var first, second yaml.Node
	switch err := dec.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: nothing is in it", file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, bare(err))
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, bare(err))
		}
		return nil, fmt.Errorf("%s:%d: a second document begins here; put each into a file of its own", file, second.Line)
	}
	d := &Doc{File: file, top: &first, left: morePairs + len(data)}
	if len(first.Content) == 1 {
		d.top = first.Content[0]
	}
	if resolve(d.top).Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: %w but %s; keys such as `name: value` are wanted", file, d.top.Line, ErrNoMapping, kind(resolve(d.top)))
	}
	return d, nil
}

// bare is the parser's error without the parser's name, which says nothing to
// the reader of a file.
func bare(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "yaml: ")) }

// Top is the whole document.
func (d *Doc) Top() Value { return d.value(d.top) }

func (d *Doc) value(n *yaml.Node) Value { return Value{doc: d, node: resolve(n), alias: n} }

// resolve follows aliases, which can't form a ring: an alias names what was
// written before it.
func resolve(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n == nil || n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

// Line is where the value stands.
func (v Value) Line() int {
	if v.alias == nil {
		return 0
	}
	return v.alias.Line
}

// At is "file:line" of the value.
func (v Value) At() string { return v.doc.At(v.Line()) }

// At is "file:line".
func (d *Doc) At(line int) string {
	if line < 1 {
		return d.File
	}
	return fmt.Sprintf("%s:%d", d.File, line)
}

// Same tells whether two places are one node, by way of an anchor.
func (v Value) Same(other Value) bool { return v.node != nil && v.node == other.node }

// Empty tells whether nothing or null stands there.
func (v Value) Empty() bool {
	return v.node == nil || v.node.Kind == 0 || v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// IsMapping tells whether keys stand there.
func (v Value) IsMapping() bool { return v.node != nil && v.node.Kind == yaml.MappingNode }

// IsList tells whether a list stands there.
func (v Value) IsList() bool { return v.node != nil && v.node.Kind == yaml.SequenceNode }

// Scalar is the text of a single value. Null is no scalar.
func (v Value) Scalar() (string, bool) {
	if v.Empty() || v.node.Kind != yaml.ScalarNode {
		return "", false
	}
	return v.node.Value, true
}

// Bool is true or false as YAML has them, "yes" and "no" as well.
func (v Value) Bool() (value, ok bool) {
	text, ok := v.Scalar()
	if !ok {
		return false, false
	}
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

// Kind says for people what stands there.
func (v Value) Kind() string { return kind(v.node) }

func kind(n *yaml.Node) string {
	switch {
	case n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	text := n.Value
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	return fmt.Sprintf("%q", text)
}

// List is what a list has; nothing and null are an empty one, and a single
// value is a list of itself.
func (v Value) List() []Value {
	switch {
	case v.Empty():
		return nil
	case !v.IsList():
		return []Value{v}
	}
	out := make([]Value, 0, len(v.node.Content))
	for _, n := range v.node.Content {
		out = append(out, v.doc.value(n))
	}
	return out
}

// Map is what a mapping has, in the file's order, with those that come by merge
// keys behind; nothing and null are an empty one. A key that stands twice is an
// error.
func (v Value) Map() ([]Pair, error) {
	if v.Empty() {
		return nil, nil
	}
	return v.doc.pairsOf(v.node, 0)
}

func (d *Doc) pairsOf(n *yaml.Node, depth int) ([]Pair, error) {
	n = resolve(n)
	if n == nil || n.Kind != yaml.MappingNode {
		line := 0
		if n != nil {
			line = n.Line
		}
		return nil, fmt.Errorf("%s: %w but %s", d.At(line), ErrNoMapping, kind(n))
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: merge keys (<<) are nested more than %d deep", d.At(n.Line), maxDepth)
	}
	var out []Pair
	var merges []*yaml.Node
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		if err := d.key(n, key, seen); err != nil {
			return nil, err
		}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, mergedNodes(value)...)
			continue
		}
		seen[key.Value] = key.Line
		out = append(out, Pair{Key: key.Value, Line: key.Line, Value: d.value(value)})
	}
	return d.merge(out, merges, seen, depth)
}

// key refuses a key that is no word, that stands twice, or that is one too many.
func (d *Doc) key(of, key *yaml.Node, seen map[string]int) error {
	if d.left--; d.left < 0 {
		return fmt.Errorf("%s: aliases and merge keys make too many keys of a small file", d.At(of.Line))
	}
	if key.Kind != yaml.ScalarNode {
		return fmt.Errorf("%s: a key is %s; it has to be a word", d.At(key.Line), kind(key))
	}
	if at, twice := seen[key.Value]; twice {
		return fmt.Errorf("%s: key %q stands twice, on line %d as well", d.At(key.Line), key.Value, at)
	}
	return nil
}

// merge adds what merge keys bring and the mapping has not itself.
func (d *Doc) merge(out []Pair, merges []*yaml.Node, seen map[string]int, depth int) ([]Pair, error) {
	for _, m := range merges {
		more, err := d.pairsOf(m, depth+1)
		if err != nil {
			return nil, err
		}
		for _, p := range more {
			if _, own := seen[p.Key]; !own {
				seen[p.Key] = p.Line
				p.Merged = true
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// mergedNodes are the mappings that a merge key names: one, or a list.
func mergedNodes(value *yaml.Node) []*yaml.Node {
	if n := resolve(value); n != nil && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{value}
}

// Get is what stands under a path of keys, and the line of the last key.
func (v Value) Get(path ...string) (Value, int, bool) {
	line := v.Line()
	for _, key := range path {
		pairs, err := v.Map()
		if err != nil {
			return Value{}, 0, false
		}
		found := false
		for _, p := range pairs {
			if p.Key == key {
				v, line, found = p.Value, p.Line, true
				break
			}
		}
		if !found {
			return Value{}, 0, false
		}
	}
	return v, line, true
}
