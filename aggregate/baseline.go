package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Baseline says how the whole state of A becomes a record of its stream, so
// that the records before it can be let go: see [Repository.Truncate]. take
// makes the payload, and must copy what A may change later; restore sets a
// fresh aggregate to it.
//
// Other than a snapshot a baseline is the truth: nothing is left to replay if
// it cannot be read. So it has a schema of its own like an event, with
// [Event.Schema] and an [Upcast] for each older one.
func Baseline[A, S any](take func(*A) S, restore func(*A, S)) *Event[A, S] {
	return &Event[A, S]{name: envelope.BaselineName, schema: 1, take: take, apply: restore}
}

// HasBaseline reports whether A defines a [Baseline].
func (s *Spec[A]) HasBaseline() bool { return s.baseline != nil }

// RecordBaseline records a baseline of a, with which [journal.Truncate] may let
// go what was recorded before. It is for runtimes.
//
// Errors: [ErrInvalid] when A defines no baseline or the state cannot be
// encoded or is larger than [envelope.MaxDataBytes]; [ErrNotFound] for an
// aggregate that does not exist.
func (s *Spec[A]) RecordBaseline(a *A) error {
	switch {
	case s.baseline == nil:
		return envelope.Invalid("aggregate", s.typ, "defines no aggregate.Baseline, so its history cannot be let go")
	case !rootOf(a).Exists():
		return NotFound(s.Stream(rootOf(a).id))
	}
	return s.baseline(a)
}

// RecordTombstone records the end of a, behind which it does not exist, and
// whose history can be let go. Commands may begin it anew; its versions count
// on. It is for runtimes.
//
// Errors: [ErrNotFound] for an aggregate that does not exist.
func (s *Spec[A]) RecordTombstone(a *A) error {
	r := rootOf(a)
	rec := r.recorder()
	switch {
	case rec.readOnly:
		return envelope.Invalid("event", envelope.TombstoneName, "cannot be recorded: the aggregate was peeked at, not loaded")
	case !r.Exists():
		return NotFound(s.Stream(r.id))
	}
	rec.Records = append(rec.Records, envelope.Record{
		Stream: s.Stream(r.id), Version: r.version + 1, Name: envelope.TombstoneName,
		Schema: 1, Codec: envelope.CodecJSON, Data: []byte("{}"), Metadata: rec.Metadata,
	})
	s.reset(a, r.version+1)
	r.ended = r.version
	return nil
}

// reset makes a an empty aggregate at a version.
func (s *Spec[A]) reset(a *A, version uint64) {
	root := *rootOf(a)
	*a = *s.New(root.id)
	r := rootOf(a)
	*r = root
	r.version, r.ended, r.snapshot = version, 0, 0
}

// beginHistory applies a record that does not build on the ones before.
//
// Errors: [ErrReplay] and [journal.ErrHistoryGone]: what it stands for is gone,
// so an error here is not to be taken for an empty aggregate.
func (s *Spec[A]) beginHistory(a *A, rec *envelope.Record) error {
	if rec.Name == envelope.TombstoneName {
		s.reset(a, rec.Version)
		rootOf(a).ended = rec.Version
		return nil
	}
	def, codec, err := s.lookup(rec)
	if err == nil {
		s.reset(a, rec.Version)
		r := rootOf(a)
		r.replaying = true
		err = def.replay(a, codec, rec)
		rootOf(a).replaying = false
	}
	if err != nil {
		return replayError(rec, fmt.Errorf("%w: %w", journal.ErrHistoryGone, err))
	}
	return nil
}

// Truncate lets go of everything in the stream of id that is behind it: a
// baseline is recorded that holds the state, and replay begins with it from now
// on. Reading by position yields the old records until [journal.Journal]'s
// Scavenge has deleted them. In a program with actors, use theirs.
//
// Errors: those of [Spec.RecordBaseline], of Load and of Commit.
func (r *Repository[A]) Truncate(ctx context.Context, id string) error {
	return r.end(ctx, id, r.spec.RecordBaseline)
}

// Delete ends the aggregate of id: a tombstone is recorded, and behind it the
// aggregate does not exist. Its version goes on counting should it be begun
// anew. Reading by position yields the tombstone, and the old records until
// [journal.Journal]'s Scavenge has deleted them. In a program with actors, use
// theirs.
//
// Errors: [ErrNotFound], those of Load and of Commit.
func (r *Repository[A]) Delete(ctx context.Context, id string) error {
	return r.end(ctx, id, r.spec.RecordTombstone)
}

// end records what history begins with, anew after a conflict.
func (r *Repository[A]) end(ctx context.Context, id string, record func(*A) error) error {
	var err error
	for range r.opts.MaxTries {
		var a *A
		if a, err = r.Load(ctx, id); err != nil {
			return err
		}
		if err = record(a); err != nil {
			return err
		}
		b := &journal.Batch{ID: journal.NewBatchID()}
		r.add(b, a, time.Now())
		b.Snapshots = nil // the record is as good
		b.Truncates = append(b.Truncates, journal.Truncate{Stream: r.spec.Stream(id), Before: rootOf(a).version})
		if _, err = journal.Settle(ctx, r.journal, b); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}
