package memory

import (
	"time"

	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// Submit commits b and calls done before it returns. What the journal does not
// take is an [journal.ErrUnsupported]; it never answers
// [journal.ErrUnavailable], [journal.ErrOverloaded] or
// [journal.ErrUnknownOutcome].
//
// Since done runs inside Submit, a done that submits nests: a chain of batches
// that each submit the next needs a stack frame per batch.
func (j *Journal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	err := b.Validate()
	if err == nil {
		err = features.Check(b)
	}
	if err != nil {
		done(journal.Result{}, err)
		return
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		done(journal.Result{}, journal.ErrClosed)
		return
	}
	j.answering.Add(1)
	res, err := j.commit(b)
	j.mu.Unlock()
	defer j.answering.Done() // deferred: a done that panics must not make Close hang
	done(res, err)
}

// commit decides and stores b; the caller holds mu. Nothing is written before
// everything is checked, and nothing fails after.
//
// A repeated command is told of its effect before it is told of a conflict:
// the stream has usually moved on since, by that very command.
func (j *Journal) commit(b *journal.Batch) (journal.Result, error) {
	var now time.Time
	if len(b.Receipts) > 0 {
		now = time.Now()
	}
	if b.Resubmit && j.storedBefore(b, now) {
		return journal.Result{}, nil
	}
	if err := j.checkReceipts(b, now); err != nil {
		return journal.Result{}, err
	}
	if err := j.checkHeads(b); err != nil {
		return journal.Result{}, err
	}
	if err := j.outbox.check(b); err != nil {
		return journal.Result{}, err
	}
	if err := j.rows.check(b); err != nil {
		return journal.Result{}, err
	}
	res := j.store(b)
	j.truncate(b)
	j.storeSnapshots(b)
	for i := range b.Receipts {
		j.receipts.add(&b.Receipts[i], b.ID, now, j.retention)
	}
	j.outbox.add(b)
	j.rows.write(b)
	j.batches.add(b)
	if len(b.Appends) > 0 || len(b.Messages) > 0 {
		j.wake()
	}
	return res, nil
}

// storedBefore reports whether b was committed already under its id. A batch
// is stored whole or not at all, so any one part of it tells. Without events,
// receipts, messages and rows there is nothing that a second commit would
// repeat.
func (j *Journal) storedBefore(b *journal.Batch, now time.Time) bool {
	for i := range b.Appends {
		a := &b.Appends[i]
		last := a.Expected + uint64(len(a.Records))
		st := j.streams[a.Stream]
		if st.head() < last {
			return false
		}
		if last > st.scavenged { // else another part tells
			return j.log.at(st.number(last)).batch == b.ID
		}
	}
	for i := range b.Receipts {
		stored := j.receipts.find(keyOf(&b.Receipts[i]), now)
		if stored != nil && stored.batch == b.ID {
			return true
		}
	}
	return j.batches.holds(b)
}

// checkReceipts returns a [journal.DuplicateError] of every receipt of b that
// is stored.
func (j *Journal) checkReceipts(b *journal.Batch, now time.Time) error {
	var dup *journal.DuplicateError
	for i := range b.Receipts {
		stored := j.receipts.find(keyOf(&b.Receipts[i]), now)
		if stored == nil {
			continue
		}
		if dup == nil {
			dup = &journal.DuplicateError{}
		}
		dup.Receipts = append(dup.Receipts, stored.receipt)
	}
	if dup == nil {
		return nil // not dup: a nil pointer in an error is not nil
	}
	return dup
}

// checkHeads is the gate: every stream must be where b expects it.
func (j *Journal) checkHeads(b *journal.Batch) error {
	for i := range b.Appends {
		a := &b.Appends[i]
		if head := j.streams[a.Stream].head(); head != a.Expected {
			return &journal.ConflictError{Stream: a.Stream, Expected: a.Expected, Actual: head}
		}
	}
	for i := range b.Asserts {
		a := &b.Asserts[i]
		if head := j.streams[a.Stream].head(); head != a.Expected {
			return &journal.ConflictError{Stream: a.Stream, Expected: a.Expected, Actual: head}
		}
	}
	return nil
}

// store adds the records of b to the log and moves the heads.
func (j *Journal) store(b *journal.Batch) journal.Result {
	var res journal.Result
	for i := range b.Appends {
		a := &b.Appends[i]
		st := j.streams[a.Stream]
		if st == nil {
			st = &stream{name: a.Stream, first: 1}
			j.streams[a.Stream] = st
		}
		for k := range a.Records {
			e, number := j.log.add()
			e.record, e.batch = a.Records[k], b.ID
			e.record.Stream = st.name
			e.record.Position = journal.Position{Seq: number + 1}
			// As the durable journals do, so that nobody comes to rely on more.
			e.record.Time = e.record.Time.Truncate(time.Microsecond)
			st.numbers = append(st.numbers, number)
			res.Position = e.record.Position
		}
	}
	return res
}

// storeSnapshots comes after the events, so that a snapshot is measured with
// the head that its own batch made: one ahead of its stream would be read as
// the truth. Drops come first, for a batch that replaces a useless snapshot by
// one that is not newer. One from before a truncation is left out: it stands
// for records that are gone.
func (j *Journal) storeSnapshots(b *journal.Batch) {
	for _, s := range b.DropSnapshots {
		if st := j.streams[s]; st != nil {
			st.snapshot = nil
		}
	}
	for i := range b.Snapshots {
		snap := &b.Snapshots[i]
		st := j.streams[snap.Stream]
		if snap.Version > st.head() || snap.Version < st.first || (st.snapshot != nil && st.snapshot.Version >= snap.Version) {
			continue
		}
		kept := new(snapshot.Snapshot)
		*kept = *snap
		kept.Time = kept.Time.Truncate(time.Microsecond)
		st.snapshot = kept
	}
}
