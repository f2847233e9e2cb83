package codecs

import (
	"math"
	"math/bits"
)

// decimal is a JSON number as it is written: mantissa × 10^exponent. Binary
// floating point would move a latency or a time across the edge it lies on.
type decimal struct {
	mantissa uint64 // the first 19 significant digits, which always fit
	exponent int
	lost     bool // there were further digits, not all of them 0
	negative bool // and not zero
}

const maxDigits = 19

// parseDecimal reads a number whose syntax has been checked.
func parseDecimal(s []byte) decimal {
	var n decimal
	i, used, fraction := 0, 0, false
	if s[0] == '-' {
		i = 1
	}
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' {
			fraction = true
			continue
		}
		if c < '0' || c > '9' {
			n.exponent += exponent(s[i+1:])
			break
		}
		switch {
		case used < maxDigits:
			n.mantissa = n.mantissa*10 + uint64(c-'0')
			if n.mantissa > 0 {
				used++
			}
			if fraction {
				n.exponent--
			}
		default:
			n.lost = n.lost || c != '0'
			if !fraction {
				n.exponent++
			}
		}
	}
	n.negative = s[0] == '-' && n.mantissa > 0
	return n
}

// exponent reads what follows the e of a number. A huge one stays huge but does
// not overflow, however long the digits it makes up for.
func exponent(s []byte) int {
	n, negative := 0, s[0] == '-'
	for _, c := range s {
		if '0' <= c && c <= '9' && n < 1<<40 {
			n = n*10 + int(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}

// powers are the powers of ten that fit.
var powers = func() (p [maxDigits + 1]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// scale returns n × 10^shift, cut to an integer, and whether anything was cut
// off. It reports false if n is negative or the result overflows.
func (n decimal) scale(shift int) (whole int64, cut, ok bool) {
	if n.mantissa == 0 {
		return 0, false, true
	}
	switch e := n.exponent + shift; {
	case n.negative || e >= len(powers):
		return 0, false, false
	case e >= 0:
		high, low := bits.Mul64(n.mantissa, powers[e])
		return int64(low), n.lost, high == 0 && low <= math.MaxInt64
	case -e >= len(powers):
		return 0, true, true
	default:
		q, r := n.mantissa/powers[-e], n.mantissa%powers[-e]
		return int64(q), r != 0 || n.lost, q <= math.MaxInt64
	}
}
