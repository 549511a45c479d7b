package sqlite

import (
	"context"
	"database/sql"
	"slices"
)

var (
	lookupKeys = newSeveral(`WITH wanted (key) AS (VALUES @)
		SELECT k.number FROM wanted CROSS JOIN receipt_keys k ON k.key = wanted.key`, 1)

	lookupReceipts = newSeveral(`WITH wanted (number) AS (VALUES @)
		SELECT r.number, r.type, r.id, r.command, r.batch, r.version, r.codec, r.reply, r.time, r.stored
		FROM wanted CROSS JOIN receipts r ON r.number = wanted.number`, 1)

	insertKeys = newSeveral("INSERT OR FAIL INTO receipt_keys (key, number) VALUES @", 2)
)

// receiptsOf calls each for every stored receipt with one of the numbers,
// whether it is expired or not.
func (s *session) receiptsOf(ctx context.Context, numbers []int64, each func(*foundReceipt)) error {
	if len(numbers) == 0 {
		return nil
	}
	slices.Sort(numbers)
	args := make([]any, 0, len(numbers))
	for _, n := range slices.Compact(numbers) {
		args = append(args, n)
	}
	return s.lookup(ctx, lookupReceipts, args, func(rows *sql.Rows) error {
		f, err := scanReceipt(rows)
		if err == nil {
			each(f)
		}
		return err
	})
}

// indexedNumbers appends the numbers of those in the index that have one of the
// keys. Their rows may be gone.
func (s *session) indexedNumbers(ctx context.Context, keys []any, numbers []int64) ([]int64, error) {
	err := s.lookup(ctx, lookupKeys, keys, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n)
		numbers = append(numbers, n)
		return err
	})
	return numbers, err
}

// index adds receipts to the index, which makes the marks true. first and last
// are the oldest and the newest receipt that has a row.
func (s *session) index(ctx context.Context, marks []mark, entries []numbered, first, last int64) error {
	args := make([]any, 0, 2*len(entries))
	for _, n := range entries {
		args = append(args, n.key, n.number)
	}
	if _, err := s.insert(ctx, insertKeys, args); err != nil {
		return err
	}
	for _, m := range marks {
		if err := s.exec(ctx, "UPDATE receipts_indexed SET number = ? WHERE slice = ?", m.number, m.slice); err != nil {
			return err
		}
		if err := s.cleanIndex(ctx, m.slice, first, last); err != nil {
			return err
		}
	}
	return nil
}

// cleanIndex deletes the keys of a slice whose rows were swept, once that are a
// fourth of all: each sweep would change a leaf for each of its receipts, and
// lookups do not mind.
func (s *session) cleanIndex(ctx context.Context, slice int, first, last int64) error {
	var cleaned int64
	if _, err := s.row(ctx, "SELECT cleaned FROM receipts_indexed WHERE slice = ?", []any{slice}, &cleaned); err != nil {
		return err
	}
	if first-cleaned <= max((last-first)/4, keySlices) {
		return nil
	}
	err := s.exec(ctx, "DELETE FROM receipt_keys WHERE key BETWEEN ? AND ? AND number < ?",
		sliceStart(slice), sliceStart(slice+1)-1, first)
	if err != nil {
		return err
	}
	return s.exec(ctx, "UPDATE receipts_indexed SET cleaned = ? WHERE slice = ?", first, slice)
}
