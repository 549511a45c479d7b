package envelope

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrInvalid reports a value that no store may hold: a blank or oversized
// name, text that is not UTF-8, a control character. Nothing was written. The
// caller has to send another value; sending the same again fails again.
var ErrInvalid = errors.New("envelope: invalid value")

// InvalidError is the [ErrInvalid] of one field.
type InvalidError struct {
	Field  string // which field, in the words of the documentation: "stream id"
	Value  string // the value, shortened to 64 bytes
	Reason string // what is wrong with it: "is blank"
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid %s %q: %s", e.Field, e.Value, e.Reason)
}

// Is reports whether target is [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Invalid makes an [InvalidError], shortening value so that an error text
// never carries a whole payload.
func Invalid(field, value, reason string) error {
	const most = 64
	if len(value) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut] + "…"
	}
	return &InvalidError{Field: field, Value: value, Reason: reason}
}

// ValidateName checks a short identifying text: not blank, at most maxBytes
// long, valid UTF-8, no control characters (C0, DEL and C1, so neither NUL nor
// the unit separator that the Rust side joins identities with).
func ValidateName(field, value string, maxBytes int) error {
	if len(value) > maxBytes {
		return Invalid(field, value, fmt.Sprintf("has %d bytes, at most %d are allowed", len(value), maxBytes))
	}
	if plain(value) {
		return nil
	}
	blank := true
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return Invalid(field, value, "has a control character")
			}
			if c != ' ' {
				blank = false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(value[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return Invalid(field, value, "is not valid UTF-8")
		case r >= 0x80 && r <= 0x9f:
			return Invalid(field, value, "has a control character")
		case !isSpace(r):
			blank = false
		}
		i += size
	}
	if blank {
		return Invalid(field, value, "is blank")
	}
	return nil
}

// plain reports whether text is of visible ASCII characters alone, as nearly all
// names are.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return text != ""
}

// isSpace covers the white space beyond ASCII that would make a name look
// empty: the Unicode Zs, Zl and Zp characters.
func isSpace(r rune) bool {
	switch {
	case r == 0x00a0, r == 0x1680, r >= 0x2000 && r <= 0x200a,
		r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}
