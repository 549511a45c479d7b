package microsvc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/troupe-go/troupe/envelope"
)

// decode fills v from JSON. Errors are [DecodeError]s.
func decode(data []byte, v any, o *Options) error {
	if err := checkText(data, o.MaxDepth); err != nil {
		return err
	}
	if string(bytes.TrimSpace(data)) == "null" {
		return &DecodeError{Offset: 0, Reason: "is null"}
	}
	if !o.StrictInput {
		return decodeError(envelope.JSON.Decode(data, v), data)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeError(err, data)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &DecodeError{Offset: dec.InputOffset(), Reason: "something follows the value"}
	}
	return nil
}

// checkText finds what encoding/json lets pass, or finds late: bytes that are not
// UTF-8, which it would replace, and nesting that costs more than it says.
func checkText(data []byte, maxDepth int) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return &DecodeError{Offset: int64(i), Reason: "is not valid UTF-8"}
			}
			i += size - 1
		case inString && c == '\\':
			if i+1 < len(data) && data[i+1] < utf8.RuneSelf {
				i++
			}
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return &DecodeError{Offset: int64(i), Reason: fmt.Sprintf("is nested more than %d deep", maxDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// decodeError says where, and without names of Go types.
func decodeError(err error, data []byte) error {
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	var known *DecodeError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &syntax):
		return &DecodeError{Offset: syntax.Offset, Reason: syntax.Error()}
	case errors.As(err, &typ):
		return &DecodeError{Offset: typ.Offset, Field: typ.Field, Reason: fmt.Sprintf("%s where %s is wanted", typ.Value, typ.Type.Kind())}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &DecodeError{Offset: int64(len(data)), Reason: "unexpected end of JSON input"}
	}
	return &DecodeError{Offset: -1, Reason: strings.TrimPrefix(err.Error(), "json: ")}
}
