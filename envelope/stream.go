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
