package envelope

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is a record's place in a whole journal, over all streams. It is
// ordered and otherwise opaque: positions have gaps, and those of two journals
// cannot be compared. The zero Position lies before every record.
type Position struct {
	Epoch uint64 // the transaction, where the store numbers them; else 0
	Seq   uint64 // the place within the epoch
}

// IsZero reports whether p lies before every record.
func (p Position) IsZero() bool { return p == Position{} }

// Compare returns -1, 0 or 1 as p lies before, at or behind q.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.Epoch, q.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(p.Seq, q.Seq)
}

// String is "epoch-seq" in decimal; [ParsePosition] reads it.
func (p Position) String() string {
	return strconv.FormatUint(p.Epoch, 10) + "-" + strconv.FormatUint(p.Seq, 10)
}

// ParsePosition reads what [Position.String] wrote.
//
// Errors: [ErrInvalid].
func ParsePosition(text string) (Position, error) {
	epoch, seq, ok := strings.Cut(text, "-")
	if ok {
		e, err1 := strconv.ParseUint(epoch, 10, 64)
		s, err2 := strconv.ParseUint(seq, 10, 64)
		if err1 == nil && err2 == nil {
			return Position{Epoch: e, Seq: s}, nil
		}
	}
	return Position{}, Invalid("position", text, `want "epoch-seq", two decimal numbers`)
}

// MarshalText writes the form of [Position.String].
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of [Position.String].
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err != nil {
		return fmt.Errorf("unmarshal position: %w", err)
	}
	*p = q
	return nil
}
