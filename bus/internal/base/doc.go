// Package base is what the transports over a client library have in common: a
// life, batches in which each message is prepared by itself, and the last word
// on what was received.
package base
