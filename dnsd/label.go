package dnsd

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	// maxLabel is the longest DNS label (RFC 1035, 2.3.4).
	maxLabel = 63
	// hashDigits is how much of a hash a shortened label ends with: 40 bits
	// keep a million shortened names apart with a chance of 1 in 2 to collide
	// once only past that, and leave 52 bytes of the name to read.
	hashDigits = 10
)

// Label is the DNS label under which a container name is found when it is no
// host name itself (letters, digits and inner hyphens): in lower case, with
// every other byte as a hyphen, so that "My_App.1" becomes "my-app-1". Labels
// carry no dots: a name with dots is still found under its exact spelling, and
// its label can be used where a host name must be a single one. What is too
// long, or has nothing left to show, ends in a hash of the whole name and so
// stays unique. Label(Label(x)) is Label(x).
func Label(name string) string {
	if isLabel(name) {
		return name
	}
	var b strings.Builder
	b.Grow(len(name))
	for i := range len(name) {
		c := lowerTable[name[i]]
		if c == 0 || c == '_' {
			c = '-'
		}
		b.WriteByte(c)
	}
	label := strings.Trim(b.String(), "-")
	if label != "" && len(label) <= maxLabel {
		return label
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	hash := hex.EncodeToString(sum[:])[:hashDigits]
	if label == "" {
		return "c-" + hash
	}
	return strings.TrimRight(label[:maxLabel-hashDigits-1], "-") + "-" + hash
}

// isLabel tells whether name is a lower-case host-name label already.
func isLabel(name string) bool {
	if name == "" || len(name) > maxLabel || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c == '_' || c == '.' || lowerTable[c] != c || c == 0 {
			return false
		}
	}
	return true
}

// nameable tells whether name, in lower case, can be written into a DNS name
// as it is: labels of 1 to 63 plain bytes, underscores included.
func nameable(name string) bool {
	if name == "" || len(name) > 200 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			if lowerTable[label[i]] == 0 {
				return false
			}
		}
	}
	return true
}

// lowerTable maps each byte that may stand in a container's DNS name to its
// lower case, and every other byte to 0.
var lowerTable = func() (t [256]byte) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '-', b == '_':
			t[c] = b
		case b >= 'A' && b <= 'Z':
			t[c] = b + 'a' - 'A'
		}
	}
	return t
}()
