// Package slotlease keeps the leases of an outbox's dispatchers in memory, for
// journals that one process has to itself.
package slotlease
