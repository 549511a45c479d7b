package aggregatetest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// maxWordBytes bounds what one durable name takes of a file name, which may
// have 255 bytes on most systems.
const maxWordBytes = 100

// reserved are the names that no file of Windows can have, whatever follows
// their first dot.
var reserved = strings.Fields("con prn aux nul com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9")

// fileWord is a durable name as a part of a file name that every system can
// have and tells from others: lower-case letters, digits, - and _ stand for
// themselves, any other byte is written as %41. Dots may stay in the name of an
// event: the parts around it have none.
func fileWord(name string, dots bool) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && dots:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	word := b.String()
	if slices.Contains(reserved, word) {
		word = fmt.Sprintf("%%%02X%s", word[0], word[1:])
	}
	if len(word) > maxWordBytes {
		sum := sha256.Sum256([]byte(name))
		word = word[:maxWordBytes-18] + "%%" + hex.EncodeToString(sum[:8])
	}
	return word
}

// eventOfWord is the name that a word of a file name stands for. A name that
// was too long is not to be found in it.
func eventOfWord(word string) string {
	if name, err := url.PathUnescape(word); err == nil {
		return name
	}
	return word
}

// cutLast cuts text around its last dot.
func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// sameNumber reports whether a and b are the same number: integers digit by
// digit, others as far as a float64 goes.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if !strings.ContainsAny(a.String()+b.String(), ".eE") {
		return false
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return cmp.Compare(x, y) == 0 && errX == nil && errY == nil
}
