package bolt

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// inflight holds what the rows of the commit under way were before it. A
// transaction shows in the mapped file before it is durable, and a row that a
// reader acts on must not be taken back: until the commit is over, readers are
// given the former one.
type inflight struct {
	mu     sync.Mutex
	former map[string][]byte // row key → stored row; nil if it was absent
}

func (f *inflight) set(former map[string][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.former = former
}

// get is asked once the reader's transaction has begun: one that sees a commit
// under way began after it was announced here.
func (f *inflight) get(key []byte) (former []byte, changing bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	former, changing = f.former[string(key)]
	return former, changing
}

// checkRows refuses a batch with a row that is not as expected.
func (g *group) checkRows(b *journal.Batch) error {
	for i := range b.Rows {
		row := &b.Rows[i]
		stored, err := g.storedRow(row)
		if err != nil {
			return err
		}
		actual := stored.version
		refused := row.Expected != nil && *row.Expected != actual
		switch row.Op {
		case envelope.RowInsert:
			refused = actual > 0
		case envelope.RowPatch:
			refused = refused || actual == 0
		}
		if refused {
			return &journal.RowConflictError{Table: row.Table, Key: row.Identity(), Op: row.Op, Expected: row.Expected, Actual: actual}
		}
	}
	return nil
}

// storedRow is the row that r writes, as the group has made it so far; its
// version is 0 if there is none.
func (g *group) storedRow(r *envelope.Row) (storedRow, error) {
	key := rowKey(r.Table, r.Key)
	value, err := lookup(g.tx, bucketRows, key)
	if err != nil || value == nil {
		return storedRow{}, err
	}
	return parseRow(key, value)
}

// writeRows applies the rows of b, which were checked just now.
func (g *group) writeRows(b *journal.Batch) error {
	bucket := g.tx.Bucket(bucketRows)
	for i := range b.Rows {
		row := &b.Rows[i]
		key := rowKey(row.Table, row.Key)
		old, err := lookup(g.tx, bucketRows, key)
		if err != nil {
			return err
		}
		if _, again := g.formerRows[string(key)]; !again {
			if g.formerRows == nil {
				g.formerRows = make(map[string][]byte)
			}
			g.formerRows[string(key)] = slices.Clone(old)
		}
		g.wrote = true // a batch is acknowledged after a sync, even if it deletes nothing
		var stored storedRow
		if old != nil {
			if stored, err = parseRow(key, old); err != nil {
				return err
			}
			g.countRow(old, ^uint64(0))
		}
		if row.Op == envelope.RowDelete {
			if old == nil {
				continue
			}
			if err := g.remove(bucket, key); err != nil {
				return err
			}
			continue
		}
		value := appendRow(g.arena.reserve(row.SizeBytes()+len(old)+64), key, &storedRow{
			version: stored.version + 1, key: row.Key, columns: merge(stored.columns, row.Columns),
		})
		g.arena.keep(value)
		if err := g.store(bucket, key, value); err != nil {
			return err
		}
		g.countRow(value, 1)
	}
	return nil
}

// countRow adds a stored row to what the state says of all rows, or takes it
// away: sign is 1 or ^0.
func (g *group) countRow(value []byte, sign uint64) {
	g.state.rows += sign
	g.state.rowsBytes += sign * uint64(len(value))
	g.state.rowsSum += sign * uint64(headSum(value))
}

// merge is the columns of a row once more of them were written, in the order of
// their names.
func merge(old, written []envelope.Column) []envelope.Column {
	merged := make([]envelope.Column, 0, len(old)+len(written))
	for _, c := range old {
		if !slices.ContainsFunc(written, func(w envelope.Column) bool { return w.Name == c.Name }) {
			merged = append(merged, c)
		}
	}
	merged = append(merged, written...)
	slices.SortFunc(merged, byColumnName)
	return merged
}

func byColumnName(a, b envelope.Column) int { return strings.Compare(a.Name, b.Name) }

// Row implements [journal.Journal]. Any table exists.
func (j *Journal) Row(ctx context.Context, table string, key []envelope.Column) (envelope.StoredRow, bool, error) {
	if err := context.Cause(ctx); err != nil {
		return envelope.StoredRow{}, false, err
	}
	asked := envelope.Row{Table: table, Op: envelope.RowDelete, Key: key}
	if err := asked.Validate(); err != nil {
		return envelope.StoredRow{}, false, err
	}
	stored := rowKey(table, key)
	var found storedRow
	err := j.view(func(tx *bbolt.Tx) error {
		value, changing := j.ram.Load().rows.get(stored)
		if !changing {
			var err error
			if value, err = lookup(tx, bucketRows, stored); err != nil {
				return err
			}
		}
		if value == nil {
			return nil
		}
		var err error
		found, err = parseRow(stored, slices.Clone(value)) // values share its memory
		return err
	})
	if err != nil || found.version == 0 {
		return envelope.StoredRow{}, false, err
	}
	return envelope.StoredRow{Table: table, Key: slices.Clone(key), Columns: found.columns, Version: found.version}, true, nil
}

// verifyRows checks all rows, as verifyHeads does, as long as they are not too
// many to read: a row that seems absent would be inserted again.
func verifyRows(tx *bbolt.Tx, s *state) error {
	if s.rows > maxVerifiedRows || s.rowsBytes > maxVerifiedRowsBytes {
		return nil
	}
	var count, size, sum uint64
	cursor := tx.Bucket(bucketRows).Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if n := len(value) - 4; n < 0 || binary.BigEndian.Uint32(value[n:]) != keyedCRC(key, value[:n]) {
			return corrupt("row %q", key)
		}
		count++
		size += uint64(len(value))
		sum += uint64(headSum(value))
	}
	if count != s.rows || size != s.rowsBytes || sum != s.rowsSum {
		return corrupt("bucket rows has %d rows of %d bytes with sum %d, want %d of %d with sum %d", count, size, sum, s.rows, s.rowsBytes, s.rowsSum)
	}
	return nil
}

const (
	maxVerifiedRows      = 1_000_000
	maxVerifiedRowsBytes = 128 << 20
)
