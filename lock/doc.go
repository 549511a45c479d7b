// Package lock gives one holder at a time the use of a name, across processes:
// a lease that is renewed while its holder lives and ends by itself when it
// does not.
//
// A lease is for keeping work apart, such as one process that serves an
// aggregate type ([github.com/troupe-go/troupe/actor.HostOptions]), or a nightly
// job that must not run twice. It is no fence: a holder that was frozen beyond
// its lease may believe in it for a moment. What must not be written twice is
// kept apart by the expected versions of a journal.
//
// [Memory] keeps leases of one process. The SQL journals keep them in a table:
// see their method Locks.
package lock
