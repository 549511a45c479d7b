package sqlite

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"slices"
	"sync"
)

// A receipt is found by 64 bits of a hash. An index that took each receipt at
// once would have a leaf of its own changed by nearly every command, and the
// pages that a commit writes are most of what it costs. Hence two levels:
//
//	receipts          rows by number, which grows: appended
//	receipt_keys      (key, number) of most
//	recentReceipts    the same of the newest, in memory
//	receipts_indexed  for each 256th of all keys, a slice, the number up to
//	                  which receipts are in receipt_keys
//
// For some receipts that come, one slice's share of all that are only in memory
// goes into the index. By the time that a slice's turn comes, some hundred have
// gathered, which are close together there, and none waits for longer than it
// takes to go round. Rows stay where they are. Each process has a memory of its
// own, and reads what others have stored behind the last number that it knows.

const keySlices = 256

// Defaults of what goes into the index: a slice for so many receipts. Some
// 33,000 are in memory then, 2 MB, which a process that starts looks for among
// 65,000, in less than 0.1 s. With a million in the index ten share a leaf.
const (
	indexEvery  = 256
	indexSlices = 1
)

// hash is the key in the index. It is part of the stored format; rows say
// whether they are meant. It is a cryptographic one so that nobody can make up
// many ids with one key.
func (k receiptKey) hash() int64 {
	var scratch [800]byte
	buf := append(append(append(scratch[:0], k.typ...), 0), k.id...)
	sum := sha256.Sum256(append(append(buf, 0), k.command...)) // none of the three has a NUL
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// sliceOf is the slice of a key, and slices are in the order of keys, which are
// signed.
func sliceOf(key int64) int { return int(key>>56) + keySlices/2 }

// sliceStart is the lowest key of a slice.
func sliceStart(slice int) int64 { return int64(slice-keySlices/2) << 56 }

// recentReceipts are those that were committed and are not in the index, as far
// as this process has heard. Nothing is added before it is committed, and
// nothing dropped before its place in the index is.
type recentReceipts struct {
	mu     sync.Mutex
	last   int64 // what is behind it is not in here: it is to be read
	slices [keySlices]recentSlice
}

type recentSlice struct {
	indexed int64           // the slice's receipts up to this number are not in here
	newest  map[int64]int64 // numbers by key
	older   map[int64]int64 // number of the one before with the same key, by number
}

// numbered is a receipt as far as looking for it takes.
type numbered struct{ key, number int64 }

// mark says that a slice's receipts up to number are in the index.
type mark struct {
	slice  int
	number int64
}

// find appends the numbers with the key, and tells which is the last that is
// known.
func (r *recentReceipts) find(key int64, numbers []int64) (_ []int64, last int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slices[sliceOf(key)]
	for n, ok := s.newest[key]; ok; n, ok = s.older[n] {
		numbers = append(numbers, n)
	}
	return numbers, r.last
}

// learn takes what was committed: marks, and all receipts up to number last
// that were not known and are behind the marks. Hearing of things twice, or
// late, does no harm.
func (r *recentReceipts) learn(marks []mark, behind []numbered, last int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range marks {
		r.slices[m.slice].drop(m.number, r.last)
	}
	for _, n := range behind {
		s := &r.slices[sliceOf(n.key)]
		if n.number <= r.last || n.number <= s.indexed {
			continue
		}
		if s.newest == nil {
			s.newest, s.older = make(map[int64]int64), make(map[int64]int64)
		}
		if before, ok := s.newest[n.key]; ok {
			s.older[n.number] = before
		}
		s.newest[n.key] = n.number
	}
	r.last = max(r.last, last)
}

// drop forgets those that are in the index. last is the newest of all.
func (s *recentSlice) drop(indexed, last int64) {
	switch {
	case indexed <= s.indexed:
		return
	case indexed >= last:
		clear(s.newest)
		clear(s.older)
	default:
		for number, before := range s.older {
			if before <= indexed {
				delete(s.older, number)
			}
		}
		for key, number := range s.newest {
			if number <= indexed {
				delete(s.newest, key)
			}
		}
	}
	s.indexed = indexed
}

// due returns the slices whose turn it is, n for every so many receipts that
// came since the last turn, with their receipts from number first on in the
// order of the index.
func (r *recentReceipts) due(every, n int, first int64) (marks []mark, entries []numbered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := int64(0)
	for i := range r.slices {
		marks = append(marks, mark{i, r.slices[i].indexed})
		newest = max(newest, r.slices[i].indexed)
	}
	came := r.last - newest
	if came < int64(every) {
		return nil, nil
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.number, b.number) })
	marks = marks[:min((came*int64(n)+int64(every)-1)/int64(every), keySlices)]
	for i := range marks {
		marks[i].number = r.last
		s := &r.slices[marks[i].slice]
		for key, number := range s.newest {
			for ok := true; ok; number, ok = s.older[number] {
				if number >= first {
					entries = append(entries, numbered{key, number})
				}
			}
		}
	}
	slices.SortFunc(entries, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.number, b.number))
	})
	return marks, entries
}

// read learns what is stored and neither in the index nor among the receipts up
// to number last, which are known, and returns that.
func (r *recentReceipts) read(ctx context.Context, s *session, last int64) (behind []numbered, err error) {
	var newest int64
	_, err = s.row(ctx, "SELECT seq FROM sqlite_sequence WHERE name = 'receipts'", nil, &newest)
	if err != nil || newest <= last {
		return nil, err
	}
	var indexed [keySlices]int64
	marks := make([]mark, 0, keySlices)
	err = s.rows(ctx, "SELECT slice, number FROM receipts_indexed", nil, func(rows *sql.Rows) (bool, error) {
		var m mark
		err := rows.Scan(&m.slice, &m.number)
		if err == nil && (m.slice < 0 || m.slice >= keySlices) {
			err = corrupt("receipts_indexed has slice %d", m.slice)
		}
		if err == nil {
			indexed[m.slice] = m.number
			marks = append(marks, m)
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	if len(marks) != keySlices {
		return nil, corrupt("receipts_indexed has %d rows, want %d", len(marks), keySlices)
	}
	from := max(last, slices.Min(indexed[:]))
	const query = "SELECT number, key FROM receipts WHERE number > ? ORDER BY number"
	err = s.rows(ctx, query, []any{from}, func(rows *sql.Rows) (bool, error) {
		var n numbered
		err := rows.Scan(&n.number, &n.key)
		if n.number > indexed[sliceOf(n.key)] {
			behind = append(behind, n)
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	r.learn(marks, behind, newest)
	return behind, nil
}
