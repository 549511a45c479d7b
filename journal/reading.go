package journal

import (
	"fmt"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// SliceRange is some of the [envelope.Slices] parts of all streams: From and up,
// but not To. The zero SliceRange is all of them.
type SliceRange struct{ From, To int }

// AllSlices is every stream.
var AllSlices = SliceRange{To: envelope.Slices}

// Validate checks that r is not empty and within all slices.
//
// Errors: [ErrInvalid].
func (r SliceRange) Validate() error {
	if r = r.full(); r.From < 0 || r.To > envelope.Slices || r.From >= r.To {
		return envelope.Invalid("slices", fmt.Sprintf("[%d,%d)", r.From, r.To), fmt.Sprintf("want a range within [0,%d)", envelope.Slices))
	}
	return nil
}

// All reports whether r is every stream.
func (r SliceRange) All() bool { return r.full() == AllSlices }

// Has reports whether s belongs to r.
func (r SliceRange) Has(s envelope.Stream) bool {
	if r.All() {
		return true
	}
	slice := s.Slice()
	return r.From <= slice && slice < r.To
}

func (r SliceRange) full() SliceRange {
	if r == (SliceRange{}) {
		return AllSlices
	}
	return r
}

// Lag is how far a reader is behind.
type Lag struct {
	// Newest is the position of the newest record that can be read now. The
	// reader that has read up to it has read all.
	Newest Position

	// Records counts what can be read behind the reader, or is an upper bound
	// where the store counts positions.
	Records uint64

	// Age is how long ago the oldest of those was decided; zero without any.
	Age time.Duration

	// Withheld counts records that are stored and cannot be read yet, since
	// an older one may still be on its way. Only a server with several
	// writers has such.
	Withheld uint64

	// BlockedBy is the server's process whose open transaction withholds
	// them, and 0 if there is none.
	BlockedBy int
}

// InSlices passes on the records of slices, at most limit if that is more than
// zero: the plain way to ReadSlices for an adapter without an index. A range
// outside of all slices is the error that it yields.
func InSlices(records iter.Seq2[envelope.Record, error], slices SliceRange, limit int) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if err := slices.Validate(); err != nil {
			yield(envelope.Record{}, err)
			return
		}
		n := 0
		for rec, err := range records {
			if err == nil && !slices.Has(rec.Stream) {
				continue
			}
			if !yield(rec, err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}
