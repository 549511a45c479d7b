package actor

import (
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/snapshot"
)

const (
	// savepointLife is how long a savepoint is kept after the last failure.
	savepointLife = time.Second

	// savepointRecords and savepointBytes bound what a savepoint replays; then
	// its snapshot is taken anew, or it is dropped when there are none.
	savepointRecords = 128
	savepointBytes   = 1 << 20
)

// savepoint rebuilds the committed state in memory, without the journal. An
// actor has one only for a while after a command failed that had changed
// something: otherwise one bad client per thousand would have the journal read
// hundreds of times a second.
type savepoint[A any] struct {
	base    snapshot.Snapshot // at a committed version
	records []envelope.Record // committed since
	bytes   int
	timer   atomic.Bool // one is set that wakes the actor to drop this
}

// newSavepoint keeps the committed state a, or returns nil for an aggregate
// that defines no snapshots: that one is rebuilt from the journal each time.
func newSavepoint[A any](spec *aggregate.Spec[A], a *A) *savepoint[A] {
	if !spec.HasSnapshots() {
		return nil
	}
	s := &savepoint[A]{}
	if !s.take(spec, a) {
		return nil
	}
	return s
}

func (s *savepoint[A]) take(spec *aggregate.Spec[A], a *A) (ok bool) {
	defer func() {
		if recover() != nil { // a user's function: taking snapshots for the journal logs it
			ok = false
		}
	}()
	if spec.Version(a) == 0 { // nothing to copy
		s.base, s.records, s.bytes = snapshot.Snapshot{}, nil, 0
		return true
	}
	base, err := spec.Snapshot(a, time.Time{})
	if err != nil {
		return false
	}
	s.base, s.records, s.bytes = base, nil, 0
	return true
}

// advance adds what was committed. a is the state behind it, nil if unknown.
// It reports false when the savepoint is of no more use.
func (s *savepoint[A]) advance(spec *aggregate.Spec[A], a *A, committed []envelope.Record) bool {
	s.records = append(s.records, committed...)
	for i := range committed {
		s.bytes += committed[i].SizeBytes()
	}
	if len(s.records) <= savepointRecords && s.bytes <= savepointBytes {
		return true
	}
	return a != nil && s.take(spec, a)
}

// restore makes the committed state and applies more on top: what a turn has
// recorded so far.
func (s *savepoint[A]) restore(spec *aggregate.Spec[A], id string, more []envelope.Record) (*A, error) {
	a := spec.New(id)
	if s.base.Version > 0 {
		if err := spec.Restore(a, &s.base); err != nil {
			return nil, err
		}
	}
	for _, records := range [...][]envelope.Record{s.records, more} {
		if _, err := spec.ReplayAll(a, each(records)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func each(records []envelope.Record) func(func(envelope.Record, error) bool) {
	return func(yield func(envelope.Record, error) bool) {
		for i := range records {
			if !yield(records[i], nil) {
				return
			}
		}
	}
}

// rollBack undoes the last command of a running turn, whose records begin at
// mark. The state holds its changes, so it is made anew: from the savepoint
// and the turn's records before mark. Without a savepoint the turn ends here,
// and the state is rebuilt from the journal once the turn is committed.
func (r *resident[A]) rollBack(t *turn[A], mark int) {
	clear(t.recorder.Records[mark:])
	t.recorder.Records = t.recorder.Records[:mark]
	r.host.system.stats.rollbacks.Add(1)
	r.rolledBack = time.Now()
	old := r.state
	r.state = nil
	if r.savepoint == nil {
		return
	}
	a, err := r.savepoint.restore(r.host.spec, r.entry.id, t.recorder.Records)
	if err != nil {
		r.savepoint = nil
		return
	}
	r.host.spec.SetSnapshotVersion(a, r.host.spec.SnapshotVersion(old))
	r.host.spec.Lend(a, &t.recorder)
	r.state = a
}

// restoreCommitted gives up everything that is not committed.
func (r *resident[A]) restoreCommitted() {
	old := r.state
	r.state = nil
	r.rolledBack = time.Now()
	r.host.system.stats.rollbacks.Add(1)
	if r.savepoint == nil {
		return
	}
	a, err := r.savepoint.restore(r.host.spec, r.entry.id, nil)
	if err != nil {
		r.savepoint = nil
		return
	}
	if old != nil {
		r.host.spec.SetSnapshotVersion(a, r.host.spec.SnapshotVersion(old))
	}
	r.state = a
}
