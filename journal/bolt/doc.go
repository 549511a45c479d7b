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
// docs/formats/bolt.md has the bytes.
//
// # What can go wrong
//
// Every stored value carries a checksum that includes its key, and is verified
// whenever it is read: a damaged file is an [journal.ErrCorrupt], not a wrong
// answer, and bbolt's panics over damaged pages become one too. (One kind of
// damage is beyond that: an inner page of bbolt that leads back to itself.)
//
// After any error of a commit the file is closed and opened again, and
// everything in memory is rebuilt from it, before another batch is taken. A
// full disk is an [journal.ErrUnavailable]; the journal serves again as soon as
// there is room.
//
// A command's receipt is stored with its events and found again for
// [Options.ReceiptRetention] at least.
package bolt
