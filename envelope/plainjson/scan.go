package plainjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// ones has 1 in each of its bytes; times c it has c in each.
const ones = 0x0101010101010101

// stop returns the place of the first byte of b that may not stand in a JSON
// string as it is, and len(b) for none: a quote, a backslash, a control
// character, or a part of a character beyond ASCII. It looks at eight bytes at
// once.
func stop(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// The lowest bit that is set is right; one above it may owe its 1 to a
		// borrow.
		found := zeros(x^'"'*ones) | zeros(x^'\\'*ones) | (x - ' '*ones) | x
		if found &= 0x80 * ones; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// zeros has the highest bit of each byte that is zero in x, and maybe of bytes
// above the first one.
func zeros(x uint64) uint64 { return (x - ones) &^ x }
