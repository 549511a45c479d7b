package actor

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// turn is one round of an actor: the commands that it decided, and the batch
// that they make together. Turns are pooled, so that an idle actor has none.
//
// No answer leaves a turn before its batch is durable: not a reply, and not a
// refusal or a query either, since each was decided on a state that holds the
// events of the commands before it.
type turn[A any] struct {
	batch    journal.Batch
	recorder aggregate.Recorder
	taken    []*call[A]
	held     []held[A]
	emit     []aggregate.Emission // with room in their emitters, for after the commit
	ids      map[string]int       // command id → index in held; filled in large turns
	bytes    int

	began     time.Time
	decided   time.Time
	resubmits int
}

// held is a command with its decision, which nobody knows yet.
type held[A any] struct {
	call    *call[A]
	err     error
	joins   int // index of the command in this turn that has the same id, or -1
	receipt int // index in the batch, or -1
	wrote   bool
}

func newTurn[A any]() *turn[A] { return &turn[A]{} }

// reset forgets everything and keeps the slices' memory.
func (t *turn[A]) reset() {
	t.batch.Reset()
	clear(t.recorder.Records)
	t.recorder.Records = t.recorder.Records[:0]
	t.recorder.Metadata = envelope.Metadata{}
	t.forget()
	t.release()
	clear(t.taken)
	t.taken = t.taken[:0]
	clear(t.held)
	t.held = t.held[:0]
	clear(t.ids)
	t.bytes, t.resubmits = 0, 0
}

// forget drops what the last command enqueued.
func (t *turn[A]) forget() {
	clear(t.recorder.Emissions)
	t.recorder.Emissions = t.recorder.Emissions[:0]
}

// release gives up what the turn's commands enqueued.
func (t *turn[A]) release() {
	aggregate.ReleaseEmissions(t.emit)
	clear(t.emit)
	t.emit = t.emit[:0]
}

// handOver gives what the turn's commands enqueued to the listeners.
func (t *turn[A]) handOver() {
	aggregate.EmitReserved(t.emit)
	clear(t.emit)
	t.emit = t.emit[:0]
}

// find returns the index of the command in the turn that has the id, or -1,
// and remembers that the next one to be held has it. A small turn is searched;
// a map would cost more than the command.
func (t *turn[A]) find(id string) int {
	const small = 16
	if len(t.held) < small {
		for i := range t.held {
			if d := &t.held[i]; d.joins < 0 && d.call.inv.Header().CommandID == id {
				return i
			}
		}
		return -1
	}
	if t.ids == nil {
		t.ids = make(map[string]int)
	}
	if len(t.ids) == 0 {
		for i := range t.held {
			if d := &t.held[i]; d.joins < 0 {
				if id := d.call.inv.Header().CommandID; id != "" {
					t.ids[id] = i
				}
			}
		}
	}
	if i, ok := t.ids[id]; ok {
		return i
	}
	t.ids[id] = len(t.held)
	return -1
}

// answerAll answers every command of the turn with err.
func (t *turn[A]) answerAll(err error) {
	for i := range t.held {
		t.held[i].answer(err)
	}
}

// answer tells the caller, once.
func (d *held[A]) answer(err error) {
	if c := d.call; c != nil {
		d.call = nil
		c.answer(err)
	}
}

// decide runs waiting commands on the state in memory and submits what they
// recorded.
func (r *resident[A]) decide() {
	h := r.host
	t := h.turns.Get().(*turn[A])
	r.turn = t
	t.began = time.Now()
	t.decided = t.began
	if r.savepoint != nil && t.began.Sub(r.rolledBack) >= savepointLife {
		r.savepoint = nil
	}
	limit := maxTurnCommands
	if r.limit > 0 && len(r.retry) > 0 {
		limit = min(r.limit, limit)
	}
	h.spec.Lend(r.state, &t.recorder)
	again := r.retry
	for len(again) > 0 && r.room(t, limit) {
		c := again[0]
		again = again[1:]
		r.run(t, c)
	}
	r.retry = again
	if len(again) == 0 {
		r.retry, r.limit = nil, 0
		t.taken = r.entry.take(t.taken, limit-len(t.held))
		i := 0
		for i < len(t.taken) && t.taken[i].hold == nil && r.room(t, limit) {
			r.run(t, t.taken[i])
			i++
		}
		r.entry.putBack(t.taken[i:])
	}
	if r.state != nil {
		h.spec.Lend(r.state, nil)
	}
	r.lastUsed = int64(t.decided.Sub(h.system.began))
	r.submit(t)
}

// room reports whether the turn takes one more command. A turn whose state was
// lost ends: the next one is decided on the state as committed.
func (r *resident[A]) room(t *turn[A], limit int) bool {
	return r.state != nil && len(t.held) < limit && t.bytes < maxTurnBytes &&
		len(t.recorder.Records) < maxTurnRecords && t.decided.Sub(t.began) < maxTurnTime
}

// run decides one command.
func (r *resident[A]) run(t *turn[A], c *call[A]) {
	if !c.begin() {
		if c.state.Load() == callBegun {
			// Decided before, to be decided anew, and its caller is gone: it
			// had no effect. Nobody reads the reply.
			c.answer(unknownOutcome(c.ctx))
		}
		return
	}
	header := c.inv.Header()
	d := held[A]{call: c, joins: -1, receipt: -1}
	if header.CommandID != "" {
		if first := t.find(header.CommandID); first >= 0 {
			d.joins = first
			t.held = append(t.held, d)
			return
		}
	}
	mark := len(t.recorder.Records)
	t.recorder.Metadata = header.Metadata
	d.err = aggregate.RunGuarded(c.ctx, r.host.spec, c.inv, r.state, t.decided)
	if d.err == nil {
		d.err = r.accept(t, header, c.inv, mark, &d)
	}
	t.forget()
	if d.err != nil && (r.panicked(d.err) || len(t.recorder.Records) > mark) {
		r.rollBack(t, mark)
	} else {
		r.checkState(t, mark, header.Command)
	}
	t.held = append(t.held, d)
	t.decided = time.Now()
}

// panicked logs a handler's panic.
func (r *resident[A]) panicked(err error) bool {
	var p *aggregate.PanicError
	if !errors.As(err, &p) {
		return false
	}
	r.host.system.stats.panics.Add(1)
	r.host.system.opts.Logger.Error("command handler panicked",
		slog.String("stream", p.Stream.String()), slog.String("command", p.Command),
		slog.Any("panic", p.Value), slog.String("stack", string(p.Stack)))
	return true
}

// accept checks what a command recorded and adds its receipt to the batch.
func (r *resident[A]) accept(t *turn[A], header *aggregate.Header, inv aggregate.Invocation[A], mark int, d *held[A]) error {
	spec := r.host.spec
	recorded := t.recorder.Records[mark:]
	if len(recorded) > maxCommandRecords {
		return envelope.Invalid("command "+header.Command, fmt.Sprint(len(recorded), " events"), fmt.Sprintf("at most %d are allowed", maxCommandRecords))
	}
	bytes := 0
	for i := range recorded {
		rec := &recorded[i]
		rec.Stream.ID = header.AggregateID // the first event may have been recorded before the id was set
		rec.Time = t.decided
		bytes += rec.SizeBytes()
	}
	if bytes > maxCommandBytes {
		return envelope.Invalid("command "+header.Command, fmt.Sprint(bytes, " bytes of events"), fmt.Sprintf("at most %d are allowed", maxCommandBytes))
	}
	reserved, err := aggregate.ReserveEmissions(r.host.opts.Emitter, spec.Stream(header.AggregateID), t.recorder.Emissions)
	if err != nil {
		return err
	}
	if header.CommandID != "" {
		reply, err := inv.EncodeReply(spec.Codec())
		if err != nil {
			aggregate.ReleaseEmissions(reserved)
			return err
		}
		d.receipt = len(t.batch.Receipts)
		t.batch.Receipts = append(t.batch.Receipts, envelope.Receipt{
			Stream: spec.Stream(header.AggregateID), ID: header.CommandID,
			Reply: reply, Codec: spec.Codec().Name(), Version: spec.Version(r.state), Time: t.decided,
		})
		bytes += t.batch.Receipts[d.receipt].SizeBytes()
	}
	published := len(t.batch.Messages)
	t.batch.Messages, err = t.recorder.TakeMessages(t.batch.Messages, spec.Stream(header.AggregateID), spec.Version(r.state), len(recorded) > 0, t.decided)
	if err != nil {
		aggregate.ReleaseEmissions(reserved)
		if d.receipt >= 0 {
			t.batch.Receipts = t.batch.Receipts[:d.receipt]
			d.receipt = -1
		}
		return err
	}
	for i := range t.batch.Messages[published:] {
		bytes += t.batch.Messages[published+i].SizeBytes()
	}
	t.emit = append(t.emit, reserved...)
	t.bytes += bytes
	d.wrote = len(recorded) > 0 || len(t.batch.Messages) > published
	return nil
}

// submit hands the turn's batch to the journal, or answers at once when there
// is nothing to store.
func (r *resident[A]) submit(t *turn[A]) {
	if len(t.held) == 0 {
		r.recycle(t)
		return
	}
	s := r.host.stream(r.entry.id)
	if n := len(t.recorder.Records); n > 0 {
		t.batch.Appends = append(t.batch.Appends, journal.Append{Stream: s, Expected: r.version, Records: t.recorder.Records})
		r.addSnapshot(t, uint64(n))
	} else if len(t.batch.Receipts)+len(t.batch.Messages) > 0 || r.host.asserts() {
		t.batch.Asserts = append(t.batch.Asserts, journal.Assert{Stream: s, Expected: r.version})
	} else {
		if !r.owns() { // the lease ended while it was decided
			t.answerAll(errNotOwner)
			r.recycle(t)
			return
		}
		r.answer(t)
		return
	}
	t.batch.ID = journal.NewBatchID()
	r.commit(opCommit, &t.batch)
}

// maxTurnSnapshotBytes bounds a snapshot that is taken inside a turn. Encoding
// a larger one would hold up the commands; it is taken at passivation.
const maxTurnSnapshotBytes = 64 << 10

func (r *resident[A]) addSnapshot(t *turn[A], events uint64) {
	spec := r.host.spec
	if r.state == nil || r.bigSnapshot || !spec.HasSnapshots() ||
		!r.host.opts.Snapshots.Due(r.version+events, spec.SnapshotVersion(r.state)) {
		return
	}
	snap, ok := r.takeSnapshot(t.decided)
	if !ok {
		return
	}
	if len(snap.Data) > maxTurnSnapshotBytes {
		r.bigSnapshot = true
		return
	}
	t.batch.Snapshots = append(t.batch.Snapshots, snap)
}

// takeSnapshot encodes the state. Snapshots are a cache: what goes wrong is
// logged, and the aggregate lives without.
func (r *resident[A]) takeSnapshot(now time.Time) (snap snapshot.Snapshot, ok bool) {
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("taking it panicked: %v", v)
		}
		if err != nil {
			ok = false
			r.bigSnapshot = true // not again in every turn
			r.host.system.opts.Logger.Warn("snapshot could not be taken",
				slog.String("stream", r.host.stream(r.entry.id).String()), slog.Any("error", err))
		}
	}()
	snap, err = r.host.spec.Snapshot(r.state, now)
	return snap, true
}

// recycle puts the turn back. Nobody may refer to its batch any more.
func (r *resident[A]) recycle(t *turn[A]) {
	r.turn = nil
	t.reset()
	r.host.turns.Put(t)
}
