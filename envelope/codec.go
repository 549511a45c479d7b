package envelope

import (
	"errors"
	"fmt"
)

// Codec turns payloads into bytes and back. Its name is stored with each
// record, snapshot and message, so a name once released means the same
// encoding for ever. A Codec is used from several goroutines at once.
type Codec interface {
	// Name identifies the encoding: at most [MaxCodecBytes] bytes.
	Name() string
	// Encode returns the bytes of v, which the caller owns.
	Encode(v any) ([]byte, error)
	// Decode fills v, a pointer, from data. It keeps no reference to data.
	Decode(data []byte, v any) error
}

// CodecJSON is the name of the [JSON] codec.
const CodecJSON = "json"

// JSON is the default codec: what encoding/json makes of a value, by the
// value's [JSONAppender] or [JSONDecoder] where it has one.
var JSON Codec = jsonCodec{}

// ErrUnknownCodec reports stored bytes in an encoding that this program does
// not have. Register the codec; the bytes are untouched.
var ErrUnknownCodec = errors.New("envelope: unknown codec")

// UnknownCodecError is the [ErrUnknownCodec] of one name.
type UnknownCodecError struct{ Codec string }

func (e *UnknownCodecError) Error() string { return fmt.Sprintf("unknown codec %q", e.Codec) }

// Is reports whether target is [ErrUnknownCodec].
func (e *UnknownCodecError) Is(target error) bool { return target == ErrUnknownCodec }

// Codecs is an immutable set of codecs by name. It is safe for concurrent use.
// A nil *Codecs holds [JSON] alone.
type Codecs struct{ byName map[string]Codec }

// NewCodecs makes a set of [JSON] and the given codecs.
//
// Errors: [ErrInvalid] for a name that is blank, too long or taken.
func NewCodecs(codecs ...Codec) (*Codecs, error) {
	set := &Codecs{byName: map[string]Codec{CodecJSON: JSON}}
	for _, c := range codecs {
		if err := ValidateName("codec", c.Name(), MaxCodecBytes); err != nil {
			return nil, err
		}
		if _, taken := set.byName[c.Name()]; taken && c != JSON {
			return nil, Invalid("codec", c.Name(), "is registered twice")
		}
		set.byName[c.Name()] = c
	}
	return set, nil
}

// Lookup returns the codec called name.
//
// Errors: [ErrUnknownCodec].
func (s *Codecs) Lookup(name string) (Codec, error) {
	if name == CodecJSON {
		return JSON, nil
	}
	if s != nil {
		if c, ok := s.byName[name]; ok {
			return c, nil
		}
	}
	return nil, &UnknownCodecError{Codec: name}
}
