// Package plainjson is what the JSON methods that sourced generates are made
// of: it writes and reads objects of plain fields, as encoding/json does and
// faster.
//
// Encoding/json has the last word. An [Encoder] asks it for whatever is not
// plain: a string to escape, a number with an exponent. A [Decoder] refuses
// whatever it does not know well, and the caller then has encoding/json decode
// the same bytes: escapes, unknown or differently spelt keys, null for a
// scalar, a number out of range, every mistake. So bytes, values and errors are
// those of encoding/json; only the common case takes the short way.
//
// Hand-written code may use it too; see the example.
package plainjson
