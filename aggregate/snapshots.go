package aggregate

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/troupe-go/troupe/snapshot"
)

// ErrSnapshotUnfit reports a stored snapshot that this program does not use:
// another schema, another shape, an unknown codec, bytes that do not decode.
// It is ignored and replaced; the state comes from replay.
var ErrSnapshotUnfit = errors.New("aggregate: snapshot does not fit")

// snapshotDef is [Snapshots] without the payload's type.
type snapshotDef[A any] struct {
	schema      uint32
	fingerprint uint64
	take        func(*A) any
	restore     func(a *A, decode func(any) error) error
}

// Snapshots says how the state of A becomes a snapshot payload S and back.
// schema is S's layout number, from 1; raise it when the meaning of S changes
// in a way that its shape does not show.
//
// take must copy what A may change later (maps, slices): the payload is
// encoded at once, but a savepoint may be taken in the middle of a turn.
func Snapshots[A, S any](schema uint32, take func(*A) S, restore func(*A, S)) Part[A] {
	return snapshotPart[A, S]{schema, take, restore}
}

type snapshotPart[A, S any] struct {
	schema  uint32
	take    func(*A) S
	restore func(*A, S)
}

func (p snapshotPart[A, S]) addTo(s *Spec[A]) error {
	if s.snapshot != nil {
		return errors.New("snapshots are defined twice")
	}
	if p.schema == 0 {
		return errors.New("snapshot schema is 0; schemas count from 1")
	}
	s.snapshot = &snapshotDef[A]{
		schema:      p.schema,
		fingerprint: snapshot.Fingerprint(reflect.TypeFor[S]()),
		take:        func(a *A) any { return p.take(a) },
		restore: func(a *A, decode func(any) error) error {
			var payload S
			if err := decode(&payload); err != nil {
				return err
			}
			p.restore(a, payload)
			return nil
		},
	}
	return nil
}

// HasSnapshots reports whether A defines [Snapshots].
func (s *Spec[A]) HasSnapshots() bool { return s.snapshot != nil }

// Snapshot encodes the state of a, recorded events included.
//
// Errors: [ErrInvalid] when A defines no snapshots, the state cannot be
// encoded, or it is larger than [snapshot.MaxDataBytes].
func (s *Spec[A]) Snapshot(a *A, now time.Time) (snapshot.Snapshot, error) {
	r := rootOf(a)
	if r.ended > 0 && !r.Exists() {
		return snapshot.Snapshot{}, &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s does not exist: there is no state", s.Stream(r.id))}
	}
	if s.snapshot == nil {
		return snapshot.Snapshot{}, &Error{Code: CodeInvalid, Message: fmt.Sprintf("aggregate %s defines no snapshots", s.typ)}
	}
	data, err := s.codec.Encode(s.snapshot.take(a))
	if err != nil {
		return snapshot.Snapshot{}, &Error{Code: CodeInvalid, Message: fmt.Sprintf("snapshot of %s cannot be encoded: %v", s.Stream(r.id), err), Err: err}
	}
	snap := snapshot.Snapshot{
		Stream: s.Stream(r.id), Version: r.version,
		Schema: s.snapshot.schema, Fingerprint: s.snapshot.fingerprint,
		Codec: s.codec.Name(), Data: data, Time: now,
	}
	if len(data) > snapshot.MaxDataBytes {
		return snapshot.Snapshot{}, snap.Validate()
	}
	return snap, nil
}

// Restore sets the state of a, new, to that of snap.
//
// Errors: [ErrSnapshotUnfit]; a must not be used then.
func (s *Spec[A]) Restore(a *A, snap *snapshot.Snapshot) (err error) {
	def := s.snapshot
	switch {
	case def == nil:
		return fmt.Errorf("%w: aggregate %s defines no snapshots", ErrSnapshotUnfit, s.typ)
	case snap.Schema != def.schema:
		return fmt.Errorf("%w: schema %d, this program has %d", ErrSnapshotUnfit, snap.Schema, def.schema)
	case snap.Fingerprint != def.fingerprint:
		return fmt.Errorf("%w: schema %d has another shape than in this program", ErrSnapshotUnfit, snap.Schema)
	}
	codec, err := s.codecs.Lookup(snap.Codec)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotUnfit, err)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: restoring it panicked: %v", ErrSnapshotUnfit, v)
		}
	}()
	if err := def.restore(a, func(v any) error { return codec.Decode(snap.Data, v) }); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotUnfit, err)
	}
	r := rootOf(a)
	r.id, r.version, r.snapshot = snap.Stream.ID, snap.Version, snap.Version
	return nil
}
