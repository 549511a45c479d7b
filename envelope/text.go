package envelope

import "strings"

// CutText makes a text for people fit for headers and every store: at most
// maxBytes, which are at least 3, on one line without control characters, in
// valid UTF-8. What is cut off is marked by "…".
func CutText(text string, maxBytes int) string {
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r <= 0x9f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	if len(text) <= maxBytes {
		return text
	}
	const more = "…"
	return strings.ToValidUTF8(text[:maxBytes-len(more)], "") + more
}
