// Package memory is a journal that lives in the process's memory: for tests,
// for caches, and as the yardstick of what everything above a journal costs.
//
// It keeps every promise of the contract but durability, and takes events,
// asserts, snapshots and receipts of commands. A batch is committed inside
// Submit, so there is no queue, no committer and no waiting.
package memory
