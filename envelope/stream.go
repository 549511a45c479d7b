package envelope

// MaxNameBytes bounds a stream's type, a stream's id, an event's name and a
// message's name, each.
const MaxNameBytes = 255

// Stream identifies the events of one aggregate: its durable type and its id
// within that type. Two streams are the same when both halves are equal.
type Stream struct {
	Type string // the aggregate's durable type name: "todo"
	ID   string // the aggregate's id within the type: "42"
}

// NewStream makes a Stream and validates it.
//
// Errors: [ErrInvalid].
func NewStream(typ, id string) (Stream, error) {
	s := Stream{Type: typ, ID: id}
	return s, s.Validate()
}

// Validate checks both halves: not blank, at most [MaxNameBytes] bytes each,
// valid UTF-8, no control characters.
//
// Errors: [ErrInvalid], as an [InvalidError] whose field is "stream type" or
// "stream id".
func (s Stream) Validate() error {
	if err := ValidateName("stream type", s.Type, MaxNameBytes); err != nil {
		return err
	}
	return ValidateName("stream id", s.ID, MaxNameBytes)
}

// Slices is how many parts all streams are divided into, by hash, so that
// several readers can share the work of reading everything. Slots is the same
// for the ordering keys of messages. Both are stored and never change.
const (
	Slices = 1024
	Slots  = 1024
)

// Slice is the part of all streams that s belongs to, from 0 to [Slices]-1: the
// 64-bit FNV-1a hash of type, a zero byte, and id, modulo [Slices].
func (s Stream) Slice() int { return int(hash(s.Type, "\x00", s.ID) % Slices) }

// hash is the 64-bit FNV-1a hash of the parts, one behind the other.
func hash(parts ...string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, part := range parts {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
	}
	return h
}

// String is "type/id", for logs and errors. It is not an encoding: both halves
// may hold a slash.
func (s Stream) String() string { return s.Type + "/" + s.ID }

// Compare orders streams by type, then id. Whoever takes several streams at
// once takes them in this order, so that no two can wait for each other.
func (s Stream) Compare(t Stream) int {
	switch {
	case s.Type < t.Type:
		return -1
	case s.Type > t.Type:
		return 1
	case s.ID < t.ID:
		return -1
	case s.ID > t.ID:
		return 1
	}
	return 0
}
