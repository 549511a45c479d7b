package journal

import (
	"context"
	"iter"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/snapshot"
)

// Position is a record's place in the whole journal, opaque and ordered.
type Position = envelope.Position

// Result is the good answer to a batch.
type Result struct {
	// Position is that of the batch's last record, and zero when it wrote
	// none or was settled by a resubmission.
	Position Position
}

// Latest is what an aggregate is rebuilt from.
type Latest struct {
	Stream  envelope.Stream
	Version uint64 // of the stream; 0 if it does not exist

	// First is the version that replay begins with without a snapshot: 1, or
	// that of the baseline or tombstone of the last [Truncate].
	First uint64

	// Snapshot is the stored one, nil if there is none that is whole and at
	// or below Version. Whether it fits the program's types is the reader's
	// to judge; if it does not, the reader loads from version 0.
	Snapshot *snapshot.Snapshot

	// Records are those behind the snapshot, or all without one, up to
	// Version. It may be ranged over once.
	Records iter.Seq2[envelope.Record, error]
}

// Journal stores streams of events. Every method is safe for concurrent use.
type Journal interface {
	// Submit enqueues b and returns without waiting for the store. done is
	// called exactly once, after b is durable or has failed, possibly before
	// Submit returns and from any goroutine. It must not block and must not
	// call the journal, except for Submit.
	//
	// Batches of one stream are decided in the order in which they were
	// submitted; after a refusal every queued successor that built on it
	// conflicts, even where a stranger's events make its expected version
	// fit: successor is whatever expects the version that the refused batch
	// would have made, or a later one of that chain, and was submitted before
	// done told of the refusal. No context can take a batch back: from here
	// on the outcome is what done says.
	//
	// A batch that can be refused for several reasons is refused for the
	// first of these: a receipt that is stored ([ErrDuplicate]), a stream's
	// version ([ErrConflict]), a message id ([ErrMessageExists]), a row
	// ([ErrRowConflict]), a row that does not fit its table ([ErrInvalid]).
	//
	// Errors for done: those, [ErrFenced], [ErrInvalid] (also for a row that
	// does not fit its table), [ErrUnsupported], [ErrUnavailable],
	// [ErrOverloaded], [ErrUnknownOutcome], [ErrCorrupt], [ErrClosed].
	Submit(b *Batch, done func(Result, error))

	// Credit reports whether the queue has room for a batch of so many events
	// and bytes. If not, ready is called once there is: submit then, without
	// asking again. Ready calls come first asked, first called, only as many at
	// a time as there is room for, and must not block; a nil ready only asks.
	// Credit reserves nothing: it bounds the queue because a decided batch is
	// small and follows at once. After Close it is always true, so that Submit
	// can say why.
	Credit(events, bytes int, ready func()) bool

	// Load yields the records of s behind version after, oldest first, up to
	// the newest at the time of the call. A stream that does not exist has no
	// records and is no error. Of a truncated stream it yields none below the
	// baseline or tombstone, whatever after is. Records are read in pages of at most 1,000
	// records or 1 MiB, and no transaction is open while the caller holds
	// one: a slow reader stops nobody. An error is the last thing yielded.
	//
	// Errors: [ErrUnavailable], [ErrCorrupt], [ErrHistoryGone], [ErrClosed]
	// and the context's.
	Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error]

	// LoadLatest reads what s is rebuilt from, in one round trip.
	//
	// Errors as Load.
	LoadLatest(ctx context.Context, s envelope.Stream) (Latest, error)

	// LoadMany is LoadLatest of several streams in one round trip; the
	// results are in the order of streams.
	//
	// Errors as Load.
	LoadMany(ctx context.Context, streams []envelope.Stream) ([]Latest, error)

	// Receipt returns the stored receipt of a command, and false if there is
	// none within the journal's retention.
	//
	// Errors as Load.
	Receipt(ctx context.Context, s envelope.Stream, commandID string) (envelope.Receipt, bool, error)

	// MessageReceipt returns the stored receipt of a message, and false if
	// there is none within the journal's retention.
	//
	// Errors as Load.
	MessageReceipt(ctx context.Context, consumer, messageID string) (envelope.Receipt, bool, error)

	// Row reads one row of a read model by its whole key, and false if there
	// is none.
	//
	// Errors as Load, and [ErrInvalid] for a table or a key that the store
	// does not have.
	Row(ctx context.Context, table string, key []envelope.Column) (envelope.StoredRow, bool, error)

	// Messages yields at most limit messages that are to be published now,
	// none that is set aside or held back, behind position after, in the order of positions; a limit of zero or less
	// means all there are. Positions of one ordering key are in the order of
	// its commits; over several keys a lower one can appear late.
	//
	// Errors as Load.
	Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error]

	// Outbox returns the same messages as dispatchers share and settle them.
	Outbox() Outbox

	// ReadAll yields at most limit records of all streams behind position
	// after, in the order of positions; a limit of zero or less means all
	// there are. It never yields a record before an older one that is still
	// on its way: a reader that remembers the last position misses nothing.
	//
	// Errors as Load.
	ReadAll(ctx context.Context, after Position, limit int) iter.Seq2[envelope.Record, error]

	// ReadSlices is ReadAll of the streams of some slices, so that several
	// readers can share the work; limit counts what is yielded. A reader whose
	// slices had nothing goes on behind the position that Lag told it before
	// it read.
	//
	// Errors as Load, and [ErrInvalid] for a range outside of all slices.
	ReadSlices(ctx context.Context, slices SliceRange, after Position, limit int) iter.Seq2[envelope.Record, error]

	// Lag tells how far a reader is behind that has read up to position after.
	//
	// Errors as Load.
	Lag(ctx context.Context, after Position) (Lag, error)

	// Scavenge deletes records that a [Truncate] let go, for good, and returns
	// how many. archive, if there is one, gets them first, in pages of at most
	// 1,000, each stream oldest first, and each page once its deletion comes
	// next: what it returns an error for stays. It may call the journal, and
	// keep the records; it may get a page again after a crash. Versions and
	// positions are never given out again, and receipts live on. Scavenge runs
	// beside everything else and takes as long as it takes; a second call at
	// the same time waits for the first.
	//
	// Errors as Load, and those of archive.
	Scavenge(ctx context.Context, archive func(context.Context, []envelope.Record) error) (int, error)

	// Changed returns a channel that is closed at the next change: new records
	// or messages. Each call
	// gives a fresh one: take it, read, then wait. Readers also poll, since
	// another process's change may be heard late.
	Changed() <-chan struct{}

	// Features says what this adapter takes. It never changes.
	Features() Features

	// Close answers what is queued, waits for it, and releases the store.
	// What is submitted afterwards is an [ErrClosed]. A second call waits too
	// and returns nil.
	Close() error
}
