package bolt

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Bounds of what is read in one transaction.
const (
	pageRecords = 1_000
	pageBytes   = 1 << 20
)

// Load implements [journal.Journal]. The records of a page share one piece of
// memory, which is never used again.
func (j *Journal) Load(ctx context.Context, s envelope.Stream, after uint64) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) {
		if after == math.MaxUint64 {
			return
		}
		r := streamReader{journal: j, stream: s, next: after + 1}
		r.start()
		r.yieldAll(ctx, yield)
	}
}

// LoadLatest implements [journal.Journal]: the head, the snapshot and the
// first page come from one transaction.
func (j *Journal) LoadLatest(ctx context.Context, s envelope.Stream) (latest journal.Latest, err error) {
	if err := context.Cause(ctx); err != nil {
		return latest, err
	}
	many, err := j.loadMany(ctx, []envelope.Stream{s})
	if err != nil {
		return journal.Latest{}, err
	}
	return many[0], nil
}

// LoadMany implements [journal.Journal]. What the first pages of all streams
// hold together is bounded as one page is; the rest is read when it is ranged
// over.
func (j *Journal) LoadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return j.loadMany(ctx, streams)
}

func (j *Journal) loadMany(ctx context.Context, streams []envelope.Stream) ([]journal.Latest, error) {
	readers := make([]streamReader, len(streams))
	begin := func() {
		for i, s := range streams {
			readers[i] = streamReader{journal: j, stream: s}
			readers[i].start()
		}
	}
	begin()
	results := make([]journal.Latest, len(streams))
	read := func(tx *bbolt.Tx) (err error) {
		room := page{records: pageRecords, bytes: pageBytes}
		for i := range readers {
			if results[i], err = readers[i].latest(tx, &room); err != nil {
				return err
			}
		}
		return nil
	}
	err := j.view(read)
	for err != nil && slices.ContainsFunc(readers, func(r streamReader) bool { return r.overtaken() }) {
		begin()
		err = j.view(read)
	}
	if err != nil {
		return nil, err
	}
	for i := range readers {
		results[i].Records = readers[i].all(ctx)
	}
	return results, nil
}

// latest reads the head, the snapshot and the first page behind it.
func (r *streamReader) latest(tx *bbolt.Tx, room *page) (journal.Latest, error) {
	if err := r.findHead(tx); err != nil {
		return journal.Latest{}, err
	}
	latest := journal.Latest{Stream: r.stream, Version: r.head.version, First: r.head.begin()}
	r.next = latest.First
	if stored, ok := storedSnapshot(tx, r.stream); ok && stored.Version <= r.head.version && stored.Version >= r.head.first {
		stored.Data = append([]byte(nil), stored.Data...)
		latest.Snapshot = &stored
		r.next = stored.Version + 1
	}
	return latest, r.readPage(tx, room)
}

// all yields the page that was read and all that follow.
func (r *streamReader) all(ctx context.Context) iter.Seq2[envelope.Record, error] {
	return func(yield func(envelope.Record, error) bool) { r.yieldAll(ctx, yield) }
}

// page is how much room is left in what one transaction reads.
type page struct{ records, bytes int }

// streamReader reads one stream forwards, a page at a time, although its
// entries only lead backwards: it keeps the positions of the versions that are
// multiples of blockVersions, and walks back within one block.
type streamReader struct {
	journal *Journal
	stream  envelope.Stream
	next    uint64 // version

	head     head
	headRead bool
	begun    bool     // a page was read
	blocks   []uint64 // positions of the versions (firstBlock+i) × blockVersions, once found
	first    uint64   // firstBlock

	records []envelope.Record // the page
	names   names
}

// start takes the head from memory, if it is there: before the transaction
// begins, so that whatever it leads to is in the transaction.
func (r *streamReader) start() {
	if ram := r.journal.ram.Load(); ram != nil {
		r.head, r.headRead = ram.heads.get(r.stream)
	}
}

// overtaken reports whether the stream was truncated since its head was read:
// what the reader misses may have been scavenged since. Memory knows before a
// transaction shows it.
func (r *streamReader) overtaken() bool {
	known := r.head.first
	now := streamReader{journal: r.journal, stream: r.stream}
	now.start()
	if !now.headRead && r.journal.view(now.findHead) != nil {
		return false
	}
	return now.head.first > known
}

// findHead makes sure of the head.
func (r *streamReader) findHead(tx *bbolt.Tx) (err error) {
	if !r.headRead {
		r.head, err = storedHead(tx, r.stream)
		r.headRead = err == nil
	}
	return err
}

// yieldAll yields the page that was read and all that follow.
func (r *streamReader) yieldAll(ctx context.Context, yield func(envelope.Record, error) bool) {
	for {
		if err := context.Cause(ctx); err != nil {
			yield(envelope.Record{}, err)
			return
		}
		for i := range r.records {
			if !yield(r.records[i], nil) {
				return
			}
		}
		r.records = r.records[:0] // the next page takes their place
		if r.headRead && r.next > r.head.version {
			return
		}
		err := r.journal.view(func(tx *bbolt.Tx) error {
			if err := r.findHead(tx); err != nil {
				return err
			}
			return r.readPage(tx, &page{records: pageRecords, bytes: pageBytes})
		})
		if err != nil && r.overtaken() {
			if !r.begun {
				r.headRead, r.blocks = false, nil
				r.start()
				continue
			}
			err = fmt.Errorf("bolt: stream %s was truncated at version %d meanwhile: load it again: %w", r.stream, r.next, journal.ErrUnavailable)
		}
		if err != nil {
			yield(envelope.Record{}, err)
			return
		}
	}
}

// readPage reads records from r.next on, until the room is used up or the head
// is reached. With any room at all it reads at least one.
func (r *streamReader) readPage(tx *bbolt.Tx, room *page) error {
	r.next = max(r.next, r.head.first)
	if r.next > r.head.version {
		return nil
	}
	log, err := newLogReader(tx)
	if err != nil {
		return err
	}
	if err := r.findBlocks(log); err != nil {
		return err
	}
	var found [blockVersions]located
	var arena pageArena
	if expected := min(r.head.version-r.next+1, uint64(room.records), blockVersions*4); cap(r.records) == 0 && expected > 0 {
		r.records = make([]envelope.Record, 0, expected)
	}
	for r.next <= r.head.version && room.records > 0 && room.bytes > 0 {
		entries, err := r.readBlock(log, &found)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i].entry
			if room.records <= 0 || room.bytes <= 0 {
				break
			}
			rec := e.record(entries[i].position, &arena, &r.names)
			rec.Stream = r.stream
			r.records = append(r.records, rec)
			r.next++
			room.records--
			room.bytes -= rec.SizeBytes()
		}
	}
	r.begun = true
	return nil
}

// findBlocks finds, once, the positions by which the versions from r.next on
// are reached: an eighth of a byte for each version.
func (r *streamReader) findBlocks(log *logReader) error {
	if r.blocks != nil || r.head.block == 0 {
		return nil
	}
	r.first = (r.next + blockVersions - 1) / blockVersions
	last := r.head.version / blockVersions
	if r.first > last {
		return nil
	}
	r.blocks = make([]uint64, last-r.first+1)
	position := r.head.block
	for n := last; ; n-- {
		r.blocks[n-r.first] = position
		if n == r.first {
			return nil
		}
		e, err := entryAt(log, r.stream, position, n*blockVersions)
		if err != nil {
			return err
		}
		position = e.block
	}
}

// located is an entry and where it lies.
type located struct {
	entry
	position uint64
}

// readBlock reads the entries from version r.next to the end of its block, or
// to the head, into found.
func (r *streamReader) readBlock(log *logReader, found *[blockVersions]located) ([]located, error) {
	last, position := r.head.version, r.head.position
	if n := (r.next + blockVersions - 1) / blockVersions; n*blockVersions <= r.head.version {
		last, position = n*blockVersions, r.blocks[n-r.first]
	}
	entries := found[:last-r.next+1]
	for version := last; version >= r.next; version-- {
		e, err := entryAt(log, r.stream, position, version)
		if version == r.head.first && (err != nil || !e.beginsHistory()) {
			err = fmt.Errorf("bolt: stream %s begins at version %d: %w: %w", r.stream, version, journal.ErrHistoryGone, cmp.Or(err, corrupt("it is %q", e.name)))
		}
		if err != nil {
			return nil, err
		}
		entries[version-r.next] = located{e, position}
		position = e.prev
	}
	return entries, nil
}

// beginsHistory reports whether replay may begin with the entry.
func (e *entry) beginsHistory() bool {
	rec := envelope.Record{Name: string(e.name)}
	return rec.BeginsHistory()
}

// entryAt reads the entry at position, which must be that version of s.
func entryAt(log *logReader, s envelope.Stream, position, version uint64) (entry, error) {
	e, err := log.entry(position)
	if err != nil {
		return e, corrupt("stream %s, version %d: %v", s, version, err)
	}
	if !e.is(s) || e.version != version {
		return e, corrupt("stream %s, version %d: position %d has version %d of stream %s/%s", s, version, position, e.version, e.typ, e.id)
	}
	return e, nil
}

// entryOf finds the entry of one version of s from its head, and its position.
// It must not be one that was scavenged.
func entryOf(log *logReader, s envelope.Stream, h head, version uint64) (e entry, position uint64, err error) {
	at, position := h.version, h.position
	if block := h.version / blockVersions * blockVersions; block >= version {
		at, position = block, h.block
	}
	for {
		e, err := entryAt(log, s, position, at)
		if err != nil || at == version {
			return e, position, err
		}
		if at%blockVersions == 0 && at-blockVersions >= version && at > blockVersions {
			at, position = at-blockVersions, e.block
		} else {
			at, position = at-1, e.prev
		}
	}
}
