// Package envelope holds the words that every part of Troupe shares: the
// identity of a stream, the stored record of an event, the message that a bus
// carries, the row of a read model, the receipt of an effect, the metadata that
// travels with all of them, and the codecs of payloads.
//
// It is the lowest layer: it imports the standard library only, and every other
// package may import it.
//
// Everything that a stranger can write has a limit, stated beside the type that
// it limits. A value beyond its limit is an [InvalidError], which names the
// field and the value and is an [ErrInvalid].
package envelope
