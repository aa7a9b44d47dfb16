package environment

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// parseAddr reads an address, and says what may have been meant where it is
// none.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err == nil && a.Zone() == "" {
		return a.Unmap(), nil
	}
	if meant := Meant(text); meant.IsValid() {
		return netip.Addr{}, fmt.Errorf("%q is no address; did you mean %s?", text, meant)
	}
	parts := strings.Split(text, ".")
	if len(parts) == 4 {
		for _, p := range parts {
			if len(p) == 3 && p > "255" && strings.Trim(p, "0123456789") == "" {
				return netip.Addr{}, fmt.Errorf("%q is no address: %s is more than 255", text, p)
			}
		}
	}
	if text == "" {
		return netip.Addr{}, errors.New("is empty; an address such as 10.0.0.2 is wanted")
	}
	return netip.Addr{}, fmt.Errorf("%q is no address; one such as 10.0.0.2 or fd00::2 is wanted", text)
}

// Meant is the address that somebody may have meant who wrote text, or the
// invalid one: with a mask behind it, a comma for a dot, zeros in front of
// numbers, or something around it.
func Meant(text string) netip.Addr {
	text = strings.Trim(text, " \t\r\"'`[](){}<>;,.")
	text, _, _ = strings.Cut(text, "/")
	text, _, _ = strings.Cut(text, "%")
	if !strings.Contains(text, ":") {
		text = strings.NewReplacer(",", ".", " ", "", "..", ".", "o", "0", "O", "0", "l", "1").Replace(text)
		parts := strings.Split(text, ".")
		for i, p := range parts {
			if parts[i] = strings.TrimLeft(p, "0"); parts[i] == "" && p != "" {
				parts[i] = "0"
			}
		}
		text = strings.Join(parts, ".")
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
