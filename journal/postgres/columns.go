package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/outboxsql"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// blobs, texts and moments are what pgx encodes without reflection.
type (
	blobs = pgtype.FlatArray[[]byte]
	texts = pgtype.FlatArray[*string]

	moments = pgtype.FlatArray[time.Time]
)

// The parameters of statements that store many rows: a slice for each column.
// Their memory is used again for the next group. The fast step encodes them by
// itself, the slow one leaves that to the driver.

type headColumns struct {
	types, ids       []string
	versions, events []int64
	batches          [][]byte
}

func (c *headColumns) reset() {
	c.types, c.ids = c.types[:0], c.ids[:0]
	c.versions, c.events, c.batches = c.versions[:0], c.events[:0], c.batches[:0]
}

func (c *headColumns) add(s envelope.Stream, version, events uint64, batch []byte) {
	c.types, c.ids = append(c.types, s.Type), append(c.ids, s.ID)
	c.versions, c.events = append(c.versions, int64(version)), append(c.events, int64(events))
	c.batches = append(c.batches, batch)
}

func (c *headColumns) encode(p *params) {
	p.sharedTexts(c.types)
	p.texts(c.ids)
	p.bigints(c.versions)
	p.sharedBigints(c.events)
	p.blobs(c.batches)
}

func (c *headColumns) args(to []any) []any {
	return append(to, c.types, c.ids, c.versions, c.events, blobs(c.batches))
}

type eventColumns struct {
	types, ids        []string
	versions, schemas []int64
	slices            []int16
	batches, data     [][]byte
	times             []time.Time
	names, codecs     []string
	metadata          []*string
}

func (c *eventColumns) reset() {
	c.types, c.ids, c.names, c.codecs = c.types[:0], c.ids[:0], c.names[:0], c.codecs[:0]
	c.versions, c.schemas, c.slices = c.versions[:0], c.schemas[:0], c.slices[:0]
	c.times = c.times[:0]
	clear(c.batches)
	clear(c.data)
	clear(c.metadata)
	c.batches, c.data, c.metadata = c.batches[:0], c.data[:0], c.metadata[:0]
}

func (c *eventColumns) add(batch []byte, a *journal.Append) {
	slice := int16(a.Stream.Slice())
	for i := range a.Records {
		rec := &a.Records[i]
		c.types, c.ids = append(c.types, a.Stream.Type), append(c.ids, a.Stream.ID)
		c.versions = append(c.versions, int64(rec.Version))
		c.slices = append(c.slices, slice)
		c.batches = append(c.batches, batch)
		c.times = append(c.times, micros(rec.Time))
		c.names = append(c.names, rec.Name)
		c.schemas = append(c.schemas, int64(rec.Schema))
		c.codecs = append(c.codecs, rec.Codec)
		c.data = append(c.data, notNull(rec.Data))
		c.metadata = append(c.metadata, metadataText(&rec.Metadata))
		batch = nil
	}
}

func (c *eventColumns) encode(p *params) {
	p.sharedTexts(c.types)
	p.texts(c.ids)
	p.bigints(c.versions)
	p.smallints(c.slices)
	p.blobs(c.batches)
	p.moments(c.times)
	p.sharedTexts(c.names)
	p.sharedBigints(c.schemas)
	p.sharedTexts(c.codecs)
	p.blobs(c.data)
	p.nullableTexts(c.metadata)
}

func (c *eventColumns) args(to []any) []any {
	return append(to, c.types, c.ids, c.versions, c.slices, blobs(c.batches), moments(c.times), c.names, c.schemas, c.codecs, blobs(c.data), texts(c.metadata))
}

// receiptColumns are those of commands or those of messages, where the first
// name is the consumer and the second is not used.
type receiptColumns struct {
	types, ids, commands, codecs []string
	batches, replies             [][]byte
	versions, stored             []int64
	times                        []time.Time
}

func (c *receiptColumns) reset() {
	c.types, c.ids, c.commands, c.codecs = c.types[:0], c.ids[:0], c.commands[:0], c.codecs[:0]
	clear(c.batches)
	clear(c.replies)
	c.batches, c.replies = c.batches[:0], c.replies[:0]
	c.versions, c.stored, c.times = c.versions[:0], c.stored[:0], c.times[:0]
}

func (c *receiptColumns) add(batch []byte, r *envelope.Receipt, now int64) {
	first, second := r.Stream.Type, r.Stream.ID
	if r.IsMessage() {
		first, second = r.Consumer, ""
	}
	c.types, c.ids = append(c.types, first), append(c.ids, second)
	c.commands = append(c.commands, r.ID)
	c.batches = append(c.batches, batch)
	c.versions = append(c.versions, int64(r.Version))
	c.codecs = append(c.codecs, r.Codec)
	c.replies = append(c.replies, notNull(r.Reply))
	c.times = append(c.times, micros(r.Time))
	c.stored = append(c.stored, now)
}

func (c *receiptColumns) encode(p *params) {
	p.sharedTexts(c.types)
	p.texts(c.ids)
	p.texts(c.commands)
	p.blobs(c.batches)
	p.bigints(c.versions)
	p.sharedTexts(c.codecs)
	p.blobs(c.replies)
	p.moments(c.times)
	p.sharedBigints(c.stored)
}

func (c *receiptColumns) args(to []any) []any {
	return append(to, c.types, c.ids, c.commands, blobs(c.batches), c.versions, c.codecs, blobs(c.replies), moments(c.times), c.stored)
}

func (c *receiptColumns) inboxArgs() []any {
	return []any{c.types, c.commands, blobs(c.batches), c.versions, c.codecs, blobs(c.replies), moments(c.times), c.stored}
}

type messageColumns struct {
	slots, kinds                                         []int16
	ids, names, destinations, keys, contentTypes, codecs []string
	data                                                 [][]byte
	times                                                []time.Time
	sourceTypes, sourceIDs                               []string
	sourceVersions                                       []int64
	metadata                                             []*string
	due                                                  []int64
}

func (c *messageColumns) reset() {
	c.slots, c.kinds, c.ids, c.names = c.slots[:0], c.kinds[:0], c.ids[:0], c.names[:0]
	c.destinations, c.keys, c.contentTypes, c.codecs = c.destinations[:0], c.keys[:0], c.contentTypes[:0], c.codecs[:0]
	clear(c.data)
	clear(c.metadata)
	c.data, c.times, c.metadata = c.data[:0], c.times[:0], c.metadata[:0]
	c.sourceTypes, c.sourceIDs, c.sourceVersions = c.sourceTypes[:0], c.sourceIDs[:0], c.sourceVersions[:0]
	c.due = c.due[:0]
}

func (c *messageColumns) add(m *envelope.Message) {
	c.slots, c.kinds = append(c.slots, int16(m.Slot())), append(c.kinds, int16(m.Kind))
	c.ids, c.names = append(c.ids, m.ID), append(c.names, m.Name)
	c.destinations, c.keys = append(c.destinations, m.Destination), append(c.keys, m.Key)
	c.contentTypes, c.codecs = append(c.contentTypes, m.ContentType), append(c.codecs, m.Codec)
	c.data, c.times = append(c.data, notNull(m.Data)), append(c.times, micros(m.Time))
	c.sourceTypes, c.sourceIDs = append(c.sourceTypes, m.Source.Type), append(c.sourceIDs, m.Source.ID)
	c.sourceVersions = append(c.sourceVersions, int64(m.SourceVersion))
	c.metadata = append(c.metadata, metadataText(&m.Metadata))
	c.due = append(c.due, outboxsql.Due(m.NotBefore))
}

func (c *messageColumns) encode(p *params) {
	p.smallints(c.slots)
	p.texts(c.ids)
	p.sharedSmallints(c.kinds)
	p.sharedTexts(c.names)
	p.sharedTexts(c.destinations)
	p.sharedTexts(c.keys)
	p.sharedTexts(c.contentTypes)
	p.sharedTexts(c.codecs)
	p.blobs(c.data)
	p.moments(c.times)
	p.sharedTexts(c.sourceTypes)
	p.texts(c.sourceIDs)
	p.bigints(c.sourceVersions)
	p.nullableTexts(c.metadata)
	p.sharedBigints(c.due)
}

func (c *messageColumns) args(to []any) []any {
	return append(to, c.slots, c.ids, c.kinds, c.names, c.destinations, c.keys, c.contentTypes, c.codecs,
		blobs(c.data), moments(c.times), c.sourceTypes, c.sourceIDs, c.sourceVersions, texts(c.metadata), c.due)
}

type snapshotColumns struct {
	types, ids, codecs              []string
	versions, schemas, fingerprints []int64
	data                            [][]byte
	times                           []time.Time
}

func (c *snapshotColumns) reset() {
	c.types, c.ids, c.codecs = c.types[:0], c.ids[:0], c.codecs[:0]
	c.versions, c.schemas, c.fingerprints = c.versions[:0], c.schemas[:0], c.fingerprints[:0]
	clear(c.data)
	c.data, c.times = c.data[:0], c.times[:0]
}

func (c *snapshotColumns) add(s *snapshot.Snapshot) {
	c.types, c.ids, c.codecs = append(c.types, s.Stream.Type), append(c.ids, s.Stream.ID), append(c.codecs, s.Codec)
	c.versions, c.schemas = append(c.versions, int64(s.Version)), append(c.schemas, int64(s.Schema))
	c.fingerprints = append(c.fingerprints, int64(s.Fingerprint))
	c.data, c.times = append(c.data, notNull(s.Data)), append(c.times, micros(s.Time))
}

func (c *snapshotColumns) encode(p *params) {
	p.texts(c.types)
	p.texts(c.ids)
	p.bigints(c.versions)
	p.bigints(c.schemas)
	p.bigints(c.fingerprints)
	p.texts(c.codecs)
	p.blobs(c.data)
	p.moments(c.times)
}

// ownBatch is the id by which receipts know their batch, nil if its events have
// it.
func ownBatch(b *journal.Batch) []byte {
	if len(b.Appends) > 0 {
		return nil
	}
	return b.ID[:]
}

// metadataText is the stored form, nil for none.
func metadataText(m *envelope.Metadata) *string {
	if m.IsZero() {
		return nil
	}
	text := string(m.AppendJSON(nil))
	return &text
}

// notNull makes an empty bytea of nil, which would be NULL.
func notNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// micros is t as it is kept.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
