package journaltest

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// toy is a journal whose faults can be switched on by name, to prove that the
// suite finds them. Without one it passes the suite, as a durable adapter with
// a queue and a committer that commits groups.
type toy struct {
	fault string
	disk  *disk // survives reopening

	mu      sync.Mutex
	queue   []toyItem
	bytes   int
	next    uint64 // number of the next submitted item
	waiters []toyWaiter
	closed  bool
	wake    chan struct{}
	ended   chan struct{}
	changed chan struct{}
	refused map[envelope.Stream][]refusal // used by the committer only
	cached  map[envelope.Stream]uint64    // heads, with the fault "heads cached"
}

const toyQueueBytes = 256 << 10

type toyItem struct {
	number uint64
	batch  *journal.Batch
	done   func(journal.Result, error)
	res    journal.Result
	err    error
}

type toyWaiter struct {
	bytes int
	ready func()
}

// refusal is a version that a refused batch would have made. Whoever expects
// it, and was submitted before the refusal was answered, built on it.
type refusal struct {
	by      uint64 // number of the refused item
	version uint64
	until   uint64 // items from this number on were submitted afterwards
}

// disk is what the toy stores.
type disk struct {
	writing  sync.Mutex // held by a transaction
	mu       sync.Mutex
	log      []*toyRecord
	streams  map[envelope.Stream][]*toyRecord
	snaps    map[envelope.Stream]*snapshot.Snapshot
	receipts map[modelKey]modelReceipt
	hidden   int // with the fault "late commit": index that readers do not see yet

	next       uint64                     // number of the next record
	first      map[envelope.Stream]uint64 // of truncated streams
	outbox     []toyMessage
	leases     []toyLease
	rows       map[string]*toyRow
	tables     []Table
	scavenging chan struct{} // holds one while Scavenge runs
}

type toyRecord struct {
	rec   *envelope.Record
	pos   journal.Position
	batch journal.BatchID
}

func openToy(fault string, d *disk) *toy {
	y := &toy{
		fault: fault, disk: d, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		changed: make(chan struct{}), refused: map[envelope.Stream][]refusal{},
	}
	go y.run()
	return y
}

func newDisk() *disk {
	return &disk{
		streams: map[envelope.Stream][]*toyRecord{}, snaps: map[envelope.Stream]*snapshot.Snapshot{},
		receipts: map[modelKey]modelReceipt{}, hidden: -1,
		first: map[envelope.Stream]uint64{}, rows: map[string]*toyRow{}, scavenging: make(chan struct{}, 1),
	}
}

// key is where a stream is kept.
func (y *toy) key(s envelope.Stream) envelope.Stream {
	if y.fault == "joined names" {
		return envelope.Stream{ID: s.Type + "/" + s.ID}
	}
	return s
}

// receiptKey is where a receipt is kept.
func (y *toy) receiptKey(r envelope.Receipt) modelKey {
	key := modelKey{stream: y.key(r.Stream), consumer: r.Consumer, id: r.ID}
	if y.fault == "consumers ignored" && r.IsMessage() {
		key.consumer = "any"
	}
	return key
}

func (y *toy) Features() journal.Features {
	if y.fault == "parts are missing" {
		return journal.Features{Name: "toy", Durable: true}
	}
	return journal.Features{Name: "toy", Durable: true, Messages: true, Rows: true, Inbox: true, Truncation: true}
}

func (y *toy) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if y.fault != "no validation" {
		if err := b.Validate(); err != nil {
			done(journal.Result{}, err)
			return
		}
	}
	if err := y.Features().Check(b); err != nil && y.fault != "unsupported parts dropped" {
		done(journal.Result{}, err)
		return
	}
	if check := map[string]func(*toy, *journal.Batch) error{
		"receipts checked at submit": y.disk.duplicates, "message ids checked at submit": y.disk.checkMessages, "rows checked at submit": y.disk.checkRows,
	}[y.fault]; check != nil {
		y.disk.mu.Lock()
		err := check(y, b)
		y.disk.mu.Unlock()
		if err != nil {
			done(journal.Result{}, err)
			return
		}
	}
	y.mu.Lock()
	if y.closed {
		y.mu.Unlock()
		done(journal.Result{}, journal.ErrClosed)
		return
	}
	if len(y.queue) > 0 && y.bytes+b.SizeBytes() > 2*toyQueueBytes && y.fault != "unbounded" {
		y.mu.Unlock()
		if y.fault != "overload drops silently" {
			done(journal.Result{}, journal.ErrOverloaded)
		}
		return
	}
	y.queue = append(y.queue, toyItem{number: y.next, batch: b, done: done})
	y.next++
	y.bytes += b.SizeBytes()
	y.mu.Unlock()
	if y.fault == "changed at submit" {
		y.fireChanged()
	}
	y.kick()
}

func (y *toy) kick() {
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

func (y *toy) Credit(_, bytes int, ready func()) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.closed {
		return y.fault != "no credit after close"
	}
	fits := y.bytes+bytes <= toyQueueBytes || (len(y.queue) == 0 && y.fault != "large batches get no credit")
	if (fits && len(y.waiters) == 0) || y.fault == "unbounded" || y.fault == "always credit" {
		return true
	}
	if ready != nil && y.fault != "ready never called" {
		y.waiters = append(y.waiters, toyWaiter{bytes, ready})
	}
	if len(y.queue) == 0 && y.fault != "large batches get no credit" {
		y.kick()
	}
	return false
}

// run is the committer.
func (y *toy) run() {
	defer close(y.ended)
	for {
		<-y.wake
		y.mu.Lock()
		group, closed := y.queue, y.closed
		y.queue, y.bytes = nil, 0
		ready := y.waiters
		y.waiters = nil
		y.mu.Unlock()
		if y.fault == "ready last first" {
			slices.Reverse(ready)
		}
		if !closed || y.fault != "close forgets waiters" {
			for _, w := range ready {
				w.ready()
			}
		}
		if len(group) > 0 {
			y.commit(group, closed)
		}
		if closed {
			return
		}
	}
}

func (y *toy) commit(group []toyItem, closed bool) {
	if closed && y.fault == "close drops the queue" {
		return
	}
	if y.fault == "last come first" {
		slices.Reverse(group)
	}
	if y.fault == "answered before stored" {
		go y.answer(group)
	}
	if y.fault == "wide batches last" {
		slices.SortStableFunc(group, func(a, b toyItem) int {
			return map[bool]int{true: 1}[a.batch.IsWide()] - map[bool]int{true: 1}[b.batch.IsWide()]
		})
	}
	y.disk.writing.Lock()
	defer y.disk.writing.Unlock()
	time.Sleep(50 * time.Microsecond) // the disk's sync
	y.disk.mu.Lock()
	first := len(y.disk.log)
	if y.fault == "heads of the group's beginning" {
		y.cached = map[envelope.Stream]uint64{}
	}
	var failed error
	for i := range group {
		it := &group[i]
		it.res, it.err = y.decide(it)
		if it.err != nil {
			failed = it.err
			y.refuse(it)
		}
	}
	if y.fault == "late commit" {
		if y.disk.hidden = -1; len(y.disk.log) > first+1 {
			y.disk.hidden = first
		}
	}
	y.disk.mu.Unlock()
	for i := range group {
		switch {
		case failed != nil && y.fault == "one fails all fail":
			group[i].err = failed
		case closed && y.fault == "close lies":
			group[i].err = journal.ErrClosed
		}
	}
	records := y.fault != "changed for records only" || len(y.disk.log) > first
	if y.fault != "changed at submit" && y.fault != "changed never" && records {
		y.fireChanged()
	}
	if y.fault != "answered before stored" {
		y.answer(group)
	}
	for s, some := range y.refused {
		y.refused[s] = slices.DeleteFunc(some, func(r refusal) bool { return r.until <= group[len(group)-1].number })
	}
}

// tell notes that whoever submits from here on knows of the item's refusal.
func (y *toy) tell(it *toyItem) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, a := range it.batch.Appends {
		for i := range y.refused[a.Stream] {
			if r := &y.refused[a.Stream][i]; r.by == it.number {
				r.until = y.next
			}
		}
	}
}

func (y *toy) answer(group []toyItem) {
	for i := range group {
		it := &group[i]
		if y.fault == "answered before stored" {
			it.done(journal.Result{Position: journal.Position{Seq: 1}}, nil)
			continue
		}
		if y.fault == "done twice" && it.err != nil {
			it.done(it.res, it.err)
		}
		if it.err != nil {
			y.tell(it)
		}
		it.done(it.res, it.err)
	}
}

func (y *toy) fireChanged() {
	y.mu.Lock()
	close(y.changed)
	y.changed = make(chan struct{})
	y.mu.Unlock()
}

func (y *toy) Changed() <-chan struct{} {
	if y.fault == "changed is closed already" {
		ch := make(chan struct{})
		close(ch)
		return ch
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.changed
}

func (y *toy) Close() error {
	y.mu.Lock()
	again := y.closed
	y.closed = true
	y.mu.Unlock()
	if again && y.fault == "second close is an error" {
		return journal.ErrClosed
	}
	y.kick()
	<-y.ended
	return nil
}

func (y *toy) check(ctx context.Context) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case y.closed && y.fault != "reads after close":
		return journal.ErrClosed
	case y.fault == "context ignored":
		return nil
	}
	return context.Cause(ctx)
}

// yieldAll yields what read returns, called when the loop begins.
func (y *toy) yieldAll(ctx context.Context, read func() []envelope.Record) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if err := y.check(ctx); err != nil {
			yield(envelope.Record{}, err)
			return
		}
		y.disk.mu.Lock()
		records := read()
		if y.fault == "lock held while yielding" {
			defer y.disk.mu.Unlock()
		} else {
			y.disk.mu.Unlock()
		}
		if y.fault == "one page only" {
			records = records[:min(len(records), 1000)]
		}
		for i := range records {
			if err := y.check(ctx); err != nil && i%100 == 0 {
				yield(envelope.Record{}, err)
				return
			}
			if !yield(records[i], nil) {
				return
			}
		}
	}
}

func (y *toy) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	if y.fault == "load is one off" && after > 60 {
		after--
	}
	return y.yieldAll(ctx, func() []envelope.Record { return y.disk.records(y, s, after) })
}

func (y *toy) LoadLatest(ctx context.Context, s envelope.Stream) (journal.Latest, error) {
	if err := y.check(ctx); err != nil {
		return journal.Latest{}, err
	}
	y.disk.mu.Lock()
	defer y.disk.mu.Unlock()
	latest := journal.Latest{Stream: s, Version: y.disk.head(y, s), First: y.disk.begin(y, s)}
	if y.fault == "first is one" {
		latest.First = 1
	}
	after := uint64(0)
	if sn := y.disk.snaps[y.key(s)]; sn != nil && (sn.Version <= latest.Version || y.fault == "snapshot ahead") {
		c := *sn
		latest.Snapshot, after = &c, sn.Version
		if y.fault == "snapshot shared" {
			latest.Snapshot = sn
		}
	}
	if y.fault == "snapshot does not cut the load" {
		after = 0
	}
	records := y.disk.records(y, s, after)
	latest.Records = y.yieldAll(ctx, func() []envelope.Record {
		if y.fault == "latest of two moments" {
			return y.disk.records(y, s, after)
		}
		return records
	})
	return latest, nil
}

func (y *toy) LoadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	streams = slices.Clone(streams)
	if y.fault == "many sorted" {
		slices.SortFunc(streams, envelope.Stream.Compare)
	}
	all := make([]journal.Latest, 0, len(streams))
	for _, s := range streams {
		latest, err := y.LoadLatest(ctx, s)
		if err != nil {
			return nil, err
		}
		all = append(all, latest)
	}
	return all, y.check(ctx)
}

func (y *toy) Receipt(ctx context.Context, s envelope.Stream, id string) (envelope.Receipt, bool, error) {
	return y.receipt(ctx, envelope.Receipt{Stream: s, ID: id})
}

func (y *toy) MessageReceipt(ctx context.Context, consumer, id string) (envelope.Receipt, bool, error) {
	if y.fault == "parts are missing" {
		return envelope.Receipt{}, false, &journal.UnsupportedError{Adapter: "toy", Part: "receipts"}
	}
	return y.receipt(ctx, envelope.Receipt{Consumer: consumer, ID: id})
}

func (y *toy) receipt(ctx context.Context, r envelope.Receipt) (envelope.Receipt, bool, error) {
	if err := y.check(ctx); err != nil {
		return envelope.Receipt{}, false, err
	}
	y.disk.mu.Lock()
	defer y.disk.mu.Unlock()
	stored, ok := y.disk.receipts[y.receiptKey(r)]
	return stored.receipt, ok, nil
}

func (y *toy) ReadAll(ctx context.Context, after journal.Position, limit int) iter.Seq2[envelope.Record, error] {
	return y.yieldAll(ctx, func() []envelope.Record {
		var all []envelope.Record
		for i, r := range y.disk.log {
			if c := r.pos.Compare(after); c < 0 || c == 0 && y.fault != "position inclusive" || i == y.disk.hidden {
				continue
			}
			if limit > 0 && len(all) == limit && y.fault != "limit ignored" || limit == 0 && y.fault == "limit zero reads nothing" {
				break
			}
			all = append(all, r.read())
		}
		return all
	})
}
