package aggregate

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Replay applies one stored record to a. It evaluates no When and no Require:
// history stands.
//
// Errors: [ErrReplay], as a [ReplayError] that names stream, version and
// event; a must not be used then.
func (s *Spec[A]) Replay(a *A, rec *envelope.Record) error {
	r := rootOf(a)
	if rec.BeginsHistory() && (rec.Version == r.version+1 || r.version == 0) {
		return s.beginHistory(a, rec)
	}
	if rec.Version != r.version+1 {
		if r.version == 0 && rec.Version > 1 {
			return replayError(rec, fmt.Errorf("%w: %w: it is the oldest record, and no baseline", journal.ErrCorrupt, journal.ErrHistoryGone))
		}
		return replayError(rec, fmt.Errorf("%w: the record behind version %d has version %d", journal.ErrCorrupt, r.version, rec.Version))
	}
	def, codec, err := s.lookup(rec)
	if err != nil {
		return replayError(rec, err)
	}
	r.replaying = true
	err = def.replay(a, codec, rec)
	r.replaying = false
	if err != nil {
		return replayError(rec, err)
	}
	r.version = rec.Version
	return nil
}

func replayError(rec *envelope.Record, err error) error {
	return &ReplayError{Stream: rec.Stream, Version: rec.Version, Event: rec.Name, Schema: rec.Schema, Err: err}
}

// ReplayAll applies records in order until they end or one fails. A mutator
// that panics is a [ReplayError] too.
func (s *Spec[A]) ReplayAll(a *A, records iter.Seq2[envelope.Record, error]) (n int, err error) {
	var rec envelope.Record
	defer func() {
		if v := recover(); v != nil {
			err = replayError(&rec, fmt.Errorf("its mutator panicked: %v\n%s", v, debug.Stack()))
		}
	}()
	for rec, err = range records {
		if err != nil {
			return n, err
		}
		if err = s.Replay(a, &rec); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Rebuilt says how [Spec.Rebuild] came to a state.
type Rebuilt struct {
	Replayed int // records applied

	// SnapshotIgnored is why a stored snapshot was not used, and nil when it
	// was or there was none. It is no failure: the next snapshot replaces it.
	SnapshotIgnored error
}

// Rebuild makes the aggregate that latest describes: from the snapshot and the
// records behind it, or, when the snapshot does not fit the program, from all
// records of j.
//
// Errors: [ErrReplay] and those of [journal.Journal.Load].
func (s *Spec[A]) Rebuild(ctx context.Context, j journal.Journal, latest journal.Latest) (*A, Rebuilt, error) {
	var how Rebuilt
	a := s.New(latest.Stream.ID)
	records := latest.Records
	if latest.Snapshot != nil {
		if err := s.Restore(a, latest.Snapshot); err != nil {
			how.SnapshotIgnored = err
			a = s.New(latest.Stream.ID)
			records = j.Load(ctx, latest.Stream, 0)
		}
	}
	if records == nil {
		return a, how, nil
	}
	n, err := s.ReplayAll(a, records)
	how.Replayed = n
	if err != nil {
		return nil, how, err
	}
	// An event's mutator may set the id, and history is not to be argued with;
	// but whoever asked for this id gets an aggregate of this id.
	rootOf(a).id = latest.Stream.ID
	return a, how, nil
}
