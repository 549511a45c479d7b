package journaltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// decide stores one batch of a group or says why not; the disk's lock is held.
func (y *toy) decide(it *toyItem) (journal.Result, error) {
	b, d := it.batch, y.disk
	if b.Resubmit && y.fault != "resubmit ignored" && (y.fault == "resubmit always succeeds" || d.holds(y, b)) {
		if y.fault == "rows are resubmitted" {
			d.writeRows(y, b)
		}
		return journal.Result{}, nil
	}
	duplicates := d.duplicates(y, b)
	if y.fault == "receipts checked at submit" || y.fault == "duplicates stored" {
		duplicates = nil
	}
	if duplicates != nil && y.fault != "conflict before duplicate" {
		return journal.Result{}, duplicates
	}
	if y.fault == "receipts of refused batches" {
		d.storeReceipts(y, b)
	}
	switch y.fault {
	case "messages of refused batches":
		d.storeMessages(y, b)
	case "rows of refused batches":
		d.writeRows(y, b)
	case "truncates of refused batches":
		d.truncate(y, b)
	}
	if y.fault == "rows before streams" {
		if err := d.checkRows(y, b); err != nil {
			return journal.Result{}, err
		}
	}
	if err := y.gate(it); err != nil {
		if y.fault == "ghost acks" {
			return journal.Result{}, nil
		}
		return journal.Result{}, err
	}
	if duplicates != nil {
		return journal.Result{}, duplicates
	}
	if err := d.checkEffects(y, b); err != nil {
		return journal.Result{}, err
	}
	if y.fault == "snapshots measured before events" {
		d.storeSnapshots(y, b)
	}
	var res journal.Result
	for i := range b.Appends {
		res = d.append(y, b, &b.Appends[i])
	}
	if y.fault != "truncates of refused batches" {
		d.truncate(y, b)
	}
	if y.fault != "snapshots measured before events" {
		d.storeSnapshots(y, b)
	}
	d.storeReceipts(y, b)
	if y.fault != "messages of refused batches" {
		d.storeMessages(y, b)
	}
	if y.fault != "rows of refused batches" {
		d.writeRows(y, b)
	}
	return res, nil
}

// gate compares each stream's head with what the batch expects, and refuses
// what builds on a refused batch.
func (y *toy) gate(it *toyItem) error {
	var conflict error
	check := func(s envelope.Stream, expected uint64) bool {
		head := y.head(s)
		built := false
		for _, r := range y.refused[s] {
			built = built || r.version == expected && it.number < r.until
		}
		switch {
		case built && y.fault != "successors are not refused":
		case head == expected, y.fault == "insert if absent", y.fault == "too high passes" && expected > head:
			return true
		}
		if conflict == nil {
			conflict = &journal.ConflictError{Stream: s, Expected: expected, Actual: head}
		}
		return false
	}
	for i := range it.batch.Appends {
		a := &it.batch.Appends[i]
		if check(a.Stream, a.Expected) && y.fault == "partly stored" {
			y.disk.append(y, it.batch, a)
		}
	}
	if y.fault != "asserts ignored" {
		for _, a := range it.batch.Asserts {
			check(a.Stream, a.Expected)
		}
	}
	return conflict
}

// refuse remembers the versions that the refused item would have made.
func (y *toy) refuse(it *toyItem) {
	if y.fault == "successors of conflicts only" && !errors.Is(it.err, journal.ErrConflict) {
		return
	}
	for _, a := range it.batch.Appends {
		y.refused[a.Stream] = append(y.refused[a.Stream],
			refusal{by: it.number, version: a.Expected + uint64(len(a.Records)), until: math.MaxUint64})
	}
}

// duplicates returns the batch's receipts that are stored, as an error.
func (d *disk) duplicates(y *toy, b *journal.Batch) error {
	var dup journal.DuplicateError
	for _, r := range b.Receipts {
		if r.IsMessage() && y.fault == "inbox ignored" {
			continue
		}
		if stored, ok := d.receipts[y.receiptKey(r)]; ok {
			dup.Receipts = append(dup.Receipts, stored.receipt)
			if y.fault == "first duplicate only" {
				break
			}
		}
	}
	if len(dup.Receipts) == 0 {
		return nil
	}
	return &dup
}

func (d *disk) holds(y *toy, b *journal.Batch) bool {
	if len(b.Appends) > 0 {
		a := &b.Appends[0]
		records := d.streams[y.key(a.Stream)]
		if y.fault == "batch id of the head only" {
			return len(records) > 0 && records[len(records)-1].batch == b.ID
		}
		for _, r := range records { // any of its records tells: the first may be scavenged
			if r.rec.Version > a.Expected && r.rec.Version <= a.Expected+uint64(len(a.Records)) && r.batch == b.ID {
				return true
			}
		}
		return false
	}
	for _, r := range b.Receipts {
		stored, ok := d.receipts[y.receiptKey(r)]
		if ok && stored.batch == b.ID && y.fault != "receipts have no batch id" {
			return true
		}
	}
	for _, m := range b.Messages {
		for i := range d.outbox {
			stored := &d.outbox[i]
			if stored.message.ID == m.ID && stored.batch == b.ID && y.fault != "messages have no batch id" &&
				(!stored.gone || y.fault != "published messages forget their batch") {
				return true
			}
		}
	}
	return false
}

// head is what the gate takes for a stream's version.
func (y *toy) head(s envelope.Stream) uint64 {
	if y.fault != "heads cached" && y.fault != "heads of the group's beginning" {
		return y.disk.head(y, s)
	}
	head, ok := y.cached[s]
	if !ok {
		if y.cached == nil {
			y.cached = map[envelope.Stream]uint64{}
		}
		head = y.disk.head(y, s)
		y.cached[s] = head
	}
	return head
}

func (d *disk) head(y *toy, s envelope.Stream) uint64 {
	records := d.streams[y.key(s)]
	if len(records) == 0 {
		return 0
	}
	last := records[len(records)-1].rec
	if y.fault == "versions begin anew behind a tombstone" && last.Name == envelope.TombstoneName {
		return 0
	}
	return last.Version
}

func (d *disk) append(y *toy, b *journal.Batch, a *journal.Append) journal.Result {
	key := y.key(a.Stream)
	var last journal.Position
	for i := range a.Records {
		rec := &a.Records[i]
		if y.fault == "insert if absent" && rec.Version <= d.head(y, a.Stream) {
			continue
		}
		if y.fault != "the caller's records kept" {
			rec = d.encode(y, rec)
		}
		d.next++
		last = journal.Position{Epoch: 1, Seq: d.next * 3}
		if y.fault == "positions given out again" {
			last.Seq = uint64(len(d.log)+1) * 3
		}
		stored := &toyRecord{rec: rec, pos: last, batch: b.ID}
		d.log = append(d.log, stored)
		d.streams[key] = append(d.streams[key], stored)
	}
	if y.fault == "heads cached" {
		y.cached[a.Stream] = a.Expected + uint64(len(a.Records))
	}
	return journal.Result{Position: last}
}

// encode is what a store's encoding makes of a record.
func (d *disk) encode(y *toy, rec *envelope.Record) *envelope.Record {
	c := *rec
	c.Time = time.UnixMicro(rec.Time.UnixMicro()).UTC()
	switch y.fault {
	case "times in milliseconds":
		c.Time = time.UnixMilli(rec.Time.UnixMilli())
	case "times in nanoseconds":
		c.Time = time.Unix(0, rec.Time.UnixNano())
	case "metadata dropped":
		c.Metadata.Keys = nil
	case "codec dropped":
		c.Codec = envelope.CodecJSON
	case "payload compacted":
		var compact bytes.Buffer
		if json.Compact(&compact, rec.Data) == nil {
			c.Data = compact.Bytes()
		}
	}
	return &c
}

func (d *disk) storeSnapshots(y *toy, b *journal.Batch) {
	drop := func() {
		for _, s := range b.DropSnapshots {
			if y.fault != "drops ignored" {
				delete(d.snaps, y.key(s))
			}
		}
	}
	if y.fault != "drops last" {
		drop()
	} else {
		defer drop()
	}
	for _, sn := range b.Snapshots {
		key := y.key(sn.Stream)
		ahead := sn.Version > d.head(y, sn.Stream) && y.fault != "snapshot ahead" && y.fault != "snapshot waits for its stream"
		old := d.snaps[key]
		if sn.Version < d.first[key] && y.fault != "snapshots below the baseline stored" {
			continue
		}
		if ahead || old != nil && old.Version >= sn.Version && y.fault != "older snapshots stored" &&
			(old.Version > sn.Version || y.fault != "equal snapshots stored") {
			continue
		}
		d.snaps[key] = &sn
	}
}

func (d *disk) storeReceipts(y *toy, b *journal.Batch) {
	if y.fault == "receipts need events" && len(b.Appends) == 0 {
		return
	}
	for _, r := range b.Receipts {
		if y.fault == "replies forgotten" {
			r.Reply = nil
		}
		d.receipts[y.receiptKey(r)] = modelReceipt{r, b.ID}
	}
}

// records returns copies of a stream's records behind version after.
func (d *disk) records(y *toy, s envelope.Stream, after uint64) []envelope.Record {
	after = max(after, d.begin(y, s)-1)
	var records []envelope.Record
	for _, r := range d.streams[y.key(s)] {
		if r.rec.Version > after {
			records = append(records, r.read())
		}
	}
	return records
}

func (r *toyRecord) read() envelope.Record {
	rec := *r.rec
	rec.Position = r.pos
	return rec
}

// reopened is what the disk holds after the journal was closed and opened.
func (d *disk) reopened(fault string) *disk {
	switch fault {
	case "receipts lost by reopening":
		clear(d.receipts)
	case "snapshots lost by reopening":
		clear(d.snaps)
	case "batch ids lost by reopening":
		for _, r := range d.log {
			r.batch = journal.BatchID{}
		}
	case "last record lost by reopening":
		if n := len(d.log); n > 0 {
			last := d.log[n-1]
			d.log = d.log[:n-1]
			records := d.streams[last.rec.Stream]
			d.streams[last.rec.Stream] = records[:len(records)-1]
		}
	case "messages lost by reopening":
		d.outbox = nil
	case "parked lost by reopening":
		d.outbox = slices.DeleteFunc(d.outbox, func(m toyMessage) bool { return m.parking != nil })
	case "delayed lost by reopening":
		d.outbox = slices.DeleteFunc(d.outbox, func(m toyMessage) bool { return !m.message.NotBefore.IsZero() })
	case "rows lost by reopening":
		clear(d.rows)
	case "truncations lost by reopening":
		clear(d.first)
	case "positions change by reopening":
		for _, r := range d.log {
			r.pos.Epoch++
		}
	}
	return d
}
