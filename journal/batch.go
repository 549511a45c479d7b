package journal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/snapshot"
)

// Limits of a batch.
const (
	MaxBatchRecords = 10_000
	MaxBatchBytes   = 32 << 20
)

// BatchID tells a batch from every other one. It is stored with what the batch
// wrote, so that submitting the identical batch again after an
// [ErrUnknownOutcome] finds out what became of it.
type BatchID [16]byte

// String is the id in hexadecimal.
func (id BatchID) String() string { return hex.EncodeToString(id[:]) }

// batchIDs hands out ids of this process: 8 random bytes drawn once, and a
// counter. Reading the system's randomness per batch would cost more than the
// rest of a submit.
var batchIDs struct {
	prefix [8]byte
	next   atomic.Uint64
}

func init() { _, _ = rand.Read(batchIDs.prefix[:]) } // crypto/rand.Read never fails: it ends the process instead

// NewBatchID returns an id that no other call and no other process returns.
// It is safe for concurrent use.
func NewBatchID() BatchID {
	var id BatchID
	copy(id[:8], batchIDs.prefix[:])
	binary.BigEndian.PutUint64(id[8:], batchIDs.next.Add(1))
	return id
}

// Append adds records to one stream.
type Append struct {
	Stream   envelope.Stream
	Expected uint64 // the version that the stream must have; 0 if it must be new

	// Records are the events: each of Stream, versions Expected+1 and up.
	// The journal gives them their positions.
	Records []envelope.Record
}

// Assert demands a version of one stream without writing to it.
type Assert struct {
	Stream   envelope.Stream
	Expected uint64 // the version that the stream must have; 0 if it must not exist
}

// Truncate lets go of the beginning of one stream. Its records below version
// Before are no longer part of the stream: no load yields them. Reading by
// position does, until [Journal.Scavenge] deletes them.
type Truncate struct {
	Stream envelope.Stream

	// Before is the version that replay begins with from now on: that of a
	// baseline or a tombstone which the same batch appends to Stream.
	Before uint64
}

// Fence is proof of ownership in a cluster: the append is refused unless the
// shard's current epoch and owner are these.
type Fence struct {
	Shard       uint32
	Epoch       uint64
	Incarnation [16]byte
}

// Batch is what one turn or one transaction commits, all or nothing.
//
// The journal keeps the byte slices in it (event data, replies, snapshots) and
// the maps of metadata: nobody may change them after [Journal.Submit]. The
// Batch itself and its slices belong to the caller again once done was called.
type Batch struct {
	// ID must be new for each batch, from [NewBatchID], and the same when an
	// identical batch is submitted again.
	ID BatchID

	// Resubmit marks the identical batch submitted again after an
	// [ErrUnknownOutcome]: if the first one was stored after all, the answer
	// is success. What tells is any lasting part of it: records, receipts,
	// messages. A batch of nothing but rows, snapshots and asserts may be
	// decided once more, on what it finds then.
	Resubmit bool

	Appends []Append // each stream at most once, and not in Asserts
	Asserts []Assert

	// Snapshots replace stored ones that are older. One that is not newer
	// than the stored one, or ahead of its stream, is left out silently: a
	// snapshot is a cache. DropSnapshots deletes stored ones, before Snapshots
	// are stored: so one batch replaces a useless one by one that is not newer.
	// A truncation drops the snapshots below it, and they are left out later.
	Snapshots     []snapshot.Snapshot
	DropSnapshots []envelope.Stream

	Truncates []Truncate // each stream at most once

	Messages []envelope.Message // for the outbox; an id that it holds already refuses the batch
	Rows     []envelope.Row     // of read models, each at most once; one that is not as expected refuses the batch
	Receipts []envelope.Receipt // a receipt that is stored already refuses the batch

	Fence *Fence // nil without a cluster
}

// Reset empties b for reuse, keeping its slices' memory.
func (b *Batch) Reset() {
	clear(b.Appends)
	clear(b.Snapshots)
	clear(b.Messages)
	clear(b.Rows)
	clear(b.Receipts)
	clear(b.Truncates)
	clear(b.Asserts)
	clear(b.DropSnapshots)
	*b = Batch{
		Appends: b.Appends[:0], Asserts: b.Asserts[:0],
		Snapshots: b.Snapshots[:0], DropSnapshots: b.DropSnapshots[:0],
		Truncates: b.Truncates[:0],
		Messages:  b.Messages[:0], Rows: b.Rows[:0], Receipts: b.Receipts[:0],
	}
}

// Events counts the records of all appends.
func (b *Batch) Events() int {
	n := 0
	for i := range b.Appends {
		n += len(b.Appends[i].Records)
	}
	return n
}

// SizeBytes is about what the batch takes in a queue and on disk.
func (b *Batch) SizeBytes() int {
	n := 64
	for i := range b.Appends {
		for j := range b.Appends[i].Records {
			n += b.Appends[i].Records[j].SizeBytes()
		}
	}
	for i := range b.Snapshots {
		n += len(b.Snapshots[i].Data) + 64
	}
	for i := range b.Messages {
		n += b.Messages[i].SizeBytes()
	}
	for i := range b.Receipts {
		n += b.Receipts[i].SizeBytes()
	}
	for i := range b.Rows {
		n += b.Rows[i].SizeBytes()
	}
	return n
}

// Validate checks everything that can be checked without the store. An
// adapter calls it in Submit, before the batch joins a group, so that a
// malformed batch fails alone.
//
// Errors: [ErrInvalid], naming the field and the value.
func (b *Batch) Validate() error {
	if b.ID == (BatchID{}) {
		return envelope.Invalid("batch id", b.ID.String(), "is missing: use journal.NewBatchID")
	}
	if len(b.Appends)+len(b.Asserts)+len(b.Snapshots)+len(b.DropSnapshots)+
		len(b.Truncates)+len(b.Messages)+len(b.Rows)+len(b.Receipts) == 0 {
		return envelope.Invalid("batch", b.ID.String(), "is empty")
	}
	if n := b.Events(); n > MaxBatchRecords {
		return envelope.Invalid("batch", fmt.Sprint(n, " records"), fmt.Sprintf("at most %d are allowed", MaxBatchRecords))
	}
	if n := b.SizeBytes(); n > MaxBatchBytes {
		return envelope.Invalid("batch", fmt.Sprint(n, " bytes"), fmt.Sprintf("at most %d are allowed", MaxBatchBytes))
	}
	if err := b.validateStreams(); err != nil {
		return err
	}
	for i := range b.Snapshots {
		if err := b.Snapshots[i].Validate(); err != nil {
			return err
		}
	}
	for _, s := range b.DropSnapshots {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	if err := b.validateTruncates(); err != nil {
		return err
	}
	return b.validateEffects()
}

func (b *Batch) validateStreams() error {
	for i := range b.Appends {
		if err := b.Appends[i].validate(); err != nil {
			return err
		}
	}
	for i := range b.Asserts {
		if err := b.Asserts[i].Stream.Validate(); err != nil {
			return err
		}
	}
	if len(b.Appends)+len(b.Asserts) < 2 {
		return nil
	}
	seen := make(map[envelope.Stream]struct{}, len(b.Appends)+len(b.Asserts))
	once := func(s envelope.Stream) error {
		if _, twice := seen[s]; twice {
			return envelope.Invalid("batch stream", s.String(), "appears twice")
		}
		seen[s] = struct{}{}
		return nil
	}
	for i := range b.Appends {
		if err := once(b.Appends[i].Stream); err != nil {
			return err
		}
	}
	for i := range b.Asserts {
		if err := once(b.Asserts[i].Stream); err != nil {
			return err
		}
	}
	return nil
}

func (a *Append) validate() error {
	if len(a.Records) == 0 {
		return envelope.Invalid("append", a.Stream.String(), "has no records: use an assert")
	}
	for i := range a.Records {
		rec := &a.Records[i]
		if err := rec.Validate(); err != nil {
			return err
		}
		if rec.Stream != a.Stream {
			return envelope.Invalid("record stream", rec.Stream.String(), "is not the append's "+a.Stream.String())
		}
		if want := a.Expected + 1 + uint64(i); rec.Version != want {
			return envelope.Invalid("record version", fmt.Sprint(rec.Version), fmt.Sprintf("want %d in stream %s", want, a.Stream))
		}
	}
	return nil
}

// IsWide reports whether the batch can be refused for more than the version of
// one stream and the receipts of commands: it touches several streams, expects
// row versions, or proves that a message had its effect.
func (b *Batch) IsWide() bool {
	if len(b.Appends)+len(b.Asserts) > 1 || len(b.Truncates) > 0 {
		return true
	}
	for i := range b.Rows {
		if r := &b.Rows[i]; r.Expected != nil || r.Op == envelope.RowInsert || r.Op == envelope.RowPatch {
			return true
		}
	}
	for i := range b.Receipts {
		if b.Receipts[i].IsMessage() {
			return true
		}
	}
	return false
}

// validateTruncates demands that each truncation comes with the record that
// replay begins with then: a stream is never without one.
func (b *Batch) validateTruncates() error {
	for i := range b.Truncates {
		t := &b.Truncates[i]
		if !b.begins(t) {
			return envelope.Invalid("truncate", fmt.Sprint(t.Before),
				"the batch appends no baseline or tombstone of that version to "+t.Stream.String())
		}
		for k := range i {
			if b.Truncates[k].Stream == t.Stream {
				return envelope.Invalid("truncate", t.Stream.String(), "appears twice in one batch")
			}
		}
	}
	return nil
}

// begins reports whether b appends the record that replay begins with once t
// is stored.
func (b *Batch) begins(t *Truncate) bool {
	for i := range b.Appends {
		a := &b.Appends[i]
		if a.Stream == t.Stream && t.Before > a.Expected && t.Before-a.Expected <= uint64(len(a.Records)) {
			return a.Records[t.Before-a.Expected-1].BeginsHistory()
		}
	}
	return false
}

func (b *Batch) validateRows() error {
	for i := range b.Rows {
		if err := b.Rows[i].Validate(); err != nil {
			return err
		}
	}
	if len(b.Rows) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(b.Rows))
	for i := range b.Rows {
		id := b.Rows[i].Identity()
		if _, twice := seen[id]; twice {
			return envelope.Invalid("row", id, "appears twice in one batch")
		}
		seen[id] = struct{}{}
	}
	return nil
}

func (b *Batch) validateEffects() error {
	if err := b.validateRows(); err != nil {
		return err
	}
	if len(b.Messages) > 0 {
		seen := make(map[string]struct{}, len(b.Messages))
		for i := range b.Messages {
			m := &b.Messages[i]
			if err := m.Validate(); err != nil {
				return err
			}
			if _, twice := seen[m.ID]; twice {
				return envelope.Invalid("message id", m.ID, "appears twice in one batch")
			}
			seen[m.ID] = struct{}{}
		}
	}
	for i := range b.Receipts {
		if err := b.Receipts[i].Validate(); err != nil {
			return err
		}
	}
	if len(b.Receipts) > 1 {
		type key struct {
			stream       envelope.Stream
			consumer, id string
		}
		seen := make(map[key]struct{}, len(b.Receipts))
		for i := range b.Receipts {
			r := &b.Receipts[i]
			k := key{r.Stream, r.Consumer, r.ID}
			if _, twice := seen[k]; twice {
				return envelope.Invalid("receipt", r.ID, "appears twice in one batch")
			}
			seen[k] = struct{}{}
		}
	}
	return nil
}
