// Package bolt keeps a journal in one file, for one process.
//
// The file is a bbolt database. A single goroutine, the committer, takes every
// batch that is waiting, stores them in one transaction, and answers them when
// the disk has it: the more callers, the more batches share one sync.
//
//	journal, err := bolt.Open("todos.db", nil)
//	if err != nil {
//		return err
//	}
//	defer journal.Close()
//
// # What is in the file
//
// Events lie in the order of their positions, whatever their stream, so that a
// commit appends to the end of the file's tree and rewrites nothing. Each event
// names the position of the one before it in its stream, and of the newest
// earlier one whose version is a multiple of 64, so that a stream is read from
// its head backwards, a block at a time. A stream's head, which is all that the
// gate needs, is kept in memory and written to its bucket by a checkpoint every
// so many events; a reopened file replays what came after the last one.
//
// Messages lie in an outbox of their own, in the order of their positions, and
// rows of read models under their keys; any table exists. What finds a message
// by its id, and the rows, are buckets with random keys, of which a commit
// rewrites a page for nearly every one: batches of events alone do not pay for
// that. docs/formats/bolt.md has the bytes.
//
// # Truncation
//
// A truncated stream begins at its baseline from then on; the records before
// lie in the log until [Journal.Scavenge] deletes them, a page at a time,
// beside everything else. Their receipts stay for their retention. The file
// does not shrink, and the deleted bytes stay in its free pages until those are
// used again: this is not erasure. Who is in the middle of a stream whose
// beginning is truncated and scavenged meanwhile gets an
// [journal.ErrUnavailable], and loads it again.
//
// # What can go wrong
//
// Every stored value carries a checksum that includes its key, and is verified
// whenever it is read: a damaged file is an [journal.ErrCorrupt], not a wrong
// answer, and bbolt's panics over damaged pages become one too. Pages that bbolt
// would not survive, or that would harm others, are found when the file is opened,
// or before a commit changes them.
//
// After any error of a commit the file is closed and opened again, and
// everything in memory is rebuilt from it, before another batch is taken. A
// full disk is an [journal.ErrUnavailable]; the journal serves again as soon as
// there is room.
//
// The receipt of a command or a message is stored with its events and found
// again for [Options.ReceiptRetention] at least. For as long, a batch of nothing
// but rows is known by its id.
package bolt
