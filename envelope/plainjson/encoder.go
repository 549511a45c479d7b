package plainjson

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Encoder appends an object to a buffer. Each method appends before as it is,
// the text that stands before the value (`{"id":`), and then the value, in the
// bytes of [json.Marshal]. The zero Encoder begins with an empty buffer.
type Encoder struct {
	buf []byte
	err error
}

// NewEncoder returns an Encoder that appends to dst.
func NewEncoder(dst []byte) Encoder { return Encoder{buf: dst} }

// Raw appends text as it is.
func (e *Encoder) Raw(text string) { e.buf = append(e.buf, text...) }

// String appends a string.
func (e *Encoder) String(before, s string) {
	buf := append(append(e.buf, before...), '"')
	if !plainText(s) {
		e.marshal(buf[:len(buf)-1], s)
		return
	}
	e.buf = append(append(buf, s...), '"')
}

// plainText reports whether s stands in JSON as it is.
func plainText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !asIs[c] {
			return c >= utf8.RuneSelf && plainUTF8(s[i:])
		}
	}
	return true
}

// plainUTF8 is plainText for text that is not all ASCII.
func plainUTF8(s string) bool {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if !asIs[c] {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			return false
		}
		i += size
	}
	return true
}

// asIs are the bytes of ASCII that encoding/json does not escape.
var asIs = func() (table [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		table[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return table
}()

// Bool appends a bool.
func (e *Encoder) Bool(before string, b bool) {
	e.buf = strconv.AppendBool(append(e.buf, before...), b)
}

// Int appends a signed integer.
func (e *Encoder) Int(before string, n int64) {
	e.buf = strconv.AppendInt(append(e.buf, before...), n, 10)
}

// Uint appends an unsigned integer.
func (e *Encoder) Uint(before string, n uint64) {
	e.buf = strconv.AppendUint(append(e.buf, before...), n, 10)
}

// Float64 appends a float64. NaN and the infinities are errors.
func (e *Encoder) Float64(before string, f float64) {
	buf := append(e.buf, before...)
	if abs := math.Abs(f); f != 0 && (abs < 1e-6 || !(abs < 1e21)) {
		e.marshal(buf, f) // with an exponent, or not at all
		return
	}
	e.buf = strconv.AppendFloat(buf, f, 'f', -1, 64)
}

// Float32 appends a float32. NaN and the infinities are errors.
func (e *Encoder) Float32(before string, f float32) {
	buf := append(e.buf, before...)
	abs := f
	if abs < 0 {
		abs = -abs
	}
	if f != 0 && (abs < 1e-6 || !(abs < 1e21)) {
		e.marshal(buf, f)
		return
	}
	e.buf = strconv.AppendFloat(buf, float64(f), 'f', -1, 32)
}

// Time appends a time in RFC 3339. A year beyond 9999 or before 0, and a zone
// of a day or more, are errors.
func (e *Encoder) Time(before string, t time.Time) {
	buf := append(append(e.buf, before...), '"')
	buf, err := t.AppendText(buf)
	if err != nil {
		e.fail(err)
		return
	}
	e.buf = append(buf, '"')
}

// Bytes appends bytes in base64, and null for nil.
func (e *Encoder) Bytes(before string, b []byte) {
	buf := append(e.buf, before...)
	if b == nil {
		e.buf = append(buf, "null"...)
		return
	}
	buf = base64.StdEncoding.AppendEncode(append(buf, '"'), b)
	e.buf = append(buf, '"')
}

// End appends the closing brace and returns the buffer, or the first error of
// any value.
func (e *Encoder) End() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	return append(e.buf, '}'), nil
}

// Comma returns what stands before element i of an array.
func Comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// marshal appends v to buf by encoding/json.
func (e *Encoder) marshal(buf []byte, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		e.fail(err)
		return
	}
	e.buf = append(buf, data...)
}

func (e *Encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}
