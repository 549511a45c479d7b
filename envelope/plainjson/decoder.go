package plainjson

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// Decoder reads one object from bytes, which it does not keep: what it returns
// is copied, except by [Decoder.Key]. Once it has refused something it returns
// zero values, and [Decoder.Done] reports false: decode the bytes by
// [Unmarshal] then.
type Decoder struct {
	data    []byte
	at      int
	key     []byte
	begun   bool // the innermost bracket has an element already
	refused bool
}

// NewDecoder returns a Decoder of data.
func NewDecoder(data []byte) Decoder {
	d := Decoder{data: data}
	if d.peek() != '{' {
		d.refused = true
		return d
	}
	d.at++
	return d
}

// Unmarshal is [json.Unmarshal], for what a [Decoder] refused.
func Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Next goes to the next member of the object, whose value must be read then.
// It reports false behind the last one.
func (d *Decoder) Next() bool {
	if !d.more('}') {
		return false
	}
	d.key = d.text()
	if d.peek() != ':' {
		d.refused = true
		return false
	}
	d.at++
	return true
}

// Key returns the key of the member, valid as long as the decoder's bytes.
func (d *Decoder) Key() []byte { return d.key }

// Refuse leaves the bytes to encoding/json: a key is unknown, for example.
func (d *Decoder) Refuse() { d.refused = true }

// Done reports whether the whole object was read and nothing refused.
func (d *Decoder) Done() bool {
	d.peek()
	return !d.refused && d.at == len(d.data)
}

// Array begins an array, whose elements [Decoder.Item] goes through. It
// reports false for null.
func (d *Decoder) Array() bool {
	if d.Null() {
		return false
	}
	if d.peek() != '[' {
		d.refused = true
		return false
	}
	d.at++
	d.begun = false
	return true
}

// Item goes to the next element of the array, which must be read then. It
// reports false behind the last one.
func (d *Decoder) Item() bool { return d.more(']') }

// more goes to the next element of what bracket closes.
func (d *Decoder) more(bracket byte) bool {
	c := d.peek()
	switch {
	case d.refused:
		return false
	case c == bracket:
		d.at++
		d.begun = true // this was an element of what is around it
		return false
	case !d.begun:
		d.begun = true
		return true
	case c != ',':
		d.refused = true
		return false
	}
	d.at++
	return true
}

// Null reports whether the value is null, and reads it then.
func (d *Decoder) Null() bool { return d.literal("null") }

// Bool reads a bool.
func (d *Decoder) Bool() bool {
	switch {
	case d.literal("true"):
		return true
	case !d.literal("false"):
		d.refused = true
	}
	return false
}

// String reads a string.
func (d *Decoder) String() string { return string(d.text()) }

// Bytes reads bytes in base64, and nil for null.
func (d *Decoder) Bytes() []byte {
	if d.Null() {
		return nil
	}
	text := d.text()
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	if err != nil {
		d.refused = true
		return nil
	}
	return data[:n]
}

// Time reads a time in RFC 3339.
func (d *Decoder) Time() time.Time {
	text := d.text()
	var t time.Time
	if d.refused || t.UnmarshalText(text) != nil {
		d.refused = true
		return time.Time{}
	}
	return t
}

// Int reads a signed integer of so many bits; 0 means those of an int.
func (d *Decoder) Int(bits int) int64 {
	if bits == 0 {
		bits = strconv.IntSize
	}
	negative := d.peek() == '-'
	if negative {
		d.at++
	}
	n, limit := d.digits(), uint64(1)<<(bits-1)
	switch {
	case negative && n <= limit:
		return -int64(n)
	case !negative && n < limit:
		return int64(n)
	}
	d.refused = true
	return 0
}

// Uint reads an unsigned integer of so many bits; 0 means those of a uint.
func (d *Decoder) Uint(bits int) uint64 {
	if bits == 0 {
		bits = strconv.IntSize
	}
	d.peek()
	n := d.digits()
	if n > 1<<bits-1 {
		d.refused = true
		return 0
	}
	return n
}

// Float64 reads a float64.
func (d *Decoder) Float64() float64 { return d.float(64) }

// Float32 reads a float32.
func (d *Decoder) Float32() float32 { return float32(d.float(32)) }

// float reads a number of so many bits.
func (d *Decoder) float(bits int) float64 {
	d.peek()
	from := d.at
	d.skip('-')
	if !d.skip('0') {
		d.someDigits()
	}
	if d.skip('.') {
		d.someDigits()
	}
	if d.skip('e') || d.skip('E') {
		if !d.skip('+') {
			d.skip('-')
		}
		d.someDigits()
	}
	f, err := strconv.ParseFloat(string(d.data[from:d.at]), bits)
	if err != nil {
		d.refused = true
		return 0
	}
	return f
}

// peek goes behind white space and returns the byte there, and 0 at the end.
func (d *Decoder) peek() byte {
	for d.at < len(d.data) {
		c := d.data[d.at]
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		d.at++
	}
	return 0
}

// skip goes behind c if it is the next byte.
func (d *Decoder) skip(c byte) bool {
	if d.at < len(d.data) && d.data[d.at] == c {
		d.at++
		return true
	}
	return false
}

// literal goes behind text if it comes next.
func (d *Decoder) literal(text string) bool {
	d.peek()
	if len(d.data)-d.at < len(text) || string(d.data[d.at:d.at+len(text)]) != text {
		return false
	}
	d.at += len(text)
	return true
}

// text reads a string that needs no decoding, and returns what stands between
// the quotes.
func (d *Decoder) text() []byte {
	if d.peek() != '"' {
		d.refused = true
		return nil
	}
	text := d.data[d.at+1:]
	ascii := true
	for i := 0; ; i++ {
		i += stop(text[i:])
		switch {
		case i == len(text) || text[i] == '\\' || text[i] < ' ':
			d.refused = true
			return nil
		case text[i] == '"':
			text = text[:i]
			if !ascii && !utf8.Valid(text) {
				d.refused = true
				return nil
			}
			d.at += i + 2
			return text
		}
		ascii = false
	}
}

// digits reads a whole number of at most 19 digits, which a uint64 holds.
func (d *Decoder) digits() (n uint64) {
	from := d.at
	for d.at < len(d.data) && '0' <= d.data[d.at] && d.data[d.at] <= '9' {
		n = n*10 + uint64(d.data[d.at]-'0')
		d.at++
	}
	length := d.at - from
	if length == 0 || length > 19 || length > 1 && d.data[from] == '0' {
		d.refused = true
		return 0
	}
	return n
}

// someDigits goes behind one digit or more.
func (d *Decoder) someDigits() {
	from := d.at
	for d.at < len(d.data) && '0' <= d.data[d.at] && d.data[d.at] <= '9' {
		d.at++
	}
	if d.at == from {
		d.refused = true
	}
}
