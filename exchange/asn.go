package exchange

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseASN reads an AS number: 64496, AS64496, or in two parts 1.10 (RFC 5396). It returns 0, for none, where the number
// is one that no network has: 0, 65535 and 4294967295 (RFC 7607, RFC 7300).
func ParseASN(s string) (uint32, error) {
	digits := s
	if len(s) > 2 && strings.EqualFold(s[:2], "AS") {
		digits = s[2:]
	}
	high, low, two := strings.Cut(digits, ".")
	n, err := strconv.ParseUint(digits, 10, 32)
	if two {
		h, err1 := strconv.ParseUint(high, 10, 16)
		l, err2 := strconv.ParseUint(low, 10, 16)
		n, err = h<<16|l, errors.Join(err1, err2)
	}
	if err != nil {
		// A copy, so that a caller who has bytes makes a string only of what cannot be read.
		return 0, fmt.Errorf("%.20q is not an AS number", strings.Clone(s))
	}
	if n == 1<<16-1 || n == 1<<32-1 {
		return 0, nil
	}
	return uint32(n), nil
}
