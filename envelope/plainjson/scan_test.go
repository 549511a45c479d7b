package plainjson

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each byte at each place of words of eight and what is left, behind each kind
// of neighbour.
func TestStop(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		require.Equal(t, n, stop(bytes.Repeat([]byte("a"), n)))
		for at := range n {
			for c := range 256 {
				for _, next := range []byte{'a', '"', 0, 0xff, '!', '#', ']'} {
					b := bytes.Repeat([]byte{next}, n)
					copy(b, bytes.Repeat([]byte(" "), at))
					b[at] = byte(c)
					want := 0
					for ; want < n; want++ {
						if c := b[want]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
							break
						}
					}
					require.Equal(t, want, stop(b), "%q", b)
				}
			}
		}
	}
}
