// Package duetimes knows which messages of an outbox are held back until when,
// for journals that one process has to itself.
package duetimes
