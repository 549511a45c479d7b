// Package statediff finds where two states of an aggregate differ: to prove in
// tests, and in a host's checking mode, that a handler changed nothing but by
// recording events.
package statediff
