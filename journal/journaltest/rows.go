package journaltest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// rowCases hold what read models are given and give back.
var rowCases = []Case{
	{"RowOperationsAreStored", func(w *world) {
		if w.lacks(rows) {
			return
		}
		s := stream("s")
		w.must(newBatch(events(s, 0, 1), todo(envelope.RowInsert, "a", col("task", "write"), col("done", false), col("count", int64(3)))))
		w.must(newBatch(todo(envelope.RowUpsert, "b", col("task", "read"))))
		w.inEveryLife(func() {
			w.rowIs(todo(0, "a"), 1, col("count", int64(3)), col("done", false), col("task", "write"))
			w.rowIs(todo(0, "b"), 1, col("task", "read"))
			w.noRow(todo(0, "c"))
		})
		// An upsert of a present row replaces what it names, as a patch does.
		w.must(newBatch(todo(envelope.RowUpsert, "a", col("done", true)), todo(envelope.RowPatch, "b", col("note", "soon"), col("task", nil))))
		w.inEveryLife(func() {
			w.rowIs(todo(0, "a"), 2, col("count", int64(3)), col("done", true), col("task", "write"))
			w.rowIs(todo(0, "b"), 2, col("note", "soon"))
		})
		w.must(newBatch(events(s, 1, 1), todo(envelope.RowDelete, "a")))
		w.inEveryLife(func() {
			w.noRow(todo(0, "a"))
			w.rowIs(todo(0, "b"), 2, col("note", "soon"))
			w.versions(s, 2)
		})
		w.must(newBatch(todo(envelope.RowInsert, "a", col("note", "back")))) // nothing of its former life
		w.inEveryLife(func() { w.rowIs(todo(0, "a"), 1, col("note", "back")) })
	}},
	{"RowVersionCountsWrites", func(w *world) {
		if w.lacks(rows) {
			return
		}
		w.must(newBatch(expecting(0, todo(envelope.RowUpsert, "a", col("count", int64(1))))))
		w.must(newBatch(expecting(0, todo(envelope.RowInsert, "b"))))
		for v := uint64(1); v < 40; v++ {
			op := []envelope.RowOp{envelope.RowUpsert, envelope.RowPatch}[v%2]
			w.must(newBatch(expecting(v, todo(op, "a", col("count", int64(v+1))))))
			if v%13 == 0 {
				w.inEveryLife(func() { w.rowIs(todo(0, "a"), v+1, col("count", int64(v+1))) })
			}
		}
		w.must(newBatch(todo(envelope.RowPatch, "b"))) // writes no column, and counts
		w.must(newBatch(todo(envelope.RowUpsert, "b")))
		w.inEveryLife(func() { w.rowIs(todo(0, "b"), 3) })
		w.must(newBatch(expecting(3, todo(envelope.RowDelete, "b"))))
		w.must(newBatch(todo(envelope.RowUpsert, "b")))
		w.inEveryLife(func() { w.rowIs(todo(0, "b"), 1) })
	}},
	{"RowsOfOneQueueSeeEachOther", func(w *world) {
		if w.lacks(rows) {
			return
		}
		// Each expects what the one before it makes, and nobody waits.
		const n = 200
		s := stream("s")
		var waiting []*pending
		for v := range uint64(n) {
			b := newBatch(events(s, v, 1), expecting(v, todo(envelope.RowUpsert, "a", col("count", int64(v)))))
			if v%10 == 0 {
				b.Rows = append(b.Rows, todo(envelope.RowInsert, fmt.Sprint(v)))
			} else {
				b.Rows = append(b.Rows, todo(envelope.RowPatch, fmt.Sprint(v-v%10), col("count", int64(v))))
			}
			waiting = append(waiting, w.submit(b))
		}
		for _, p := range waiting {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		w.inEveryLife(func() {
			w.rowIs(todo(0, "a"), n, col("count", int64(n-1)))
			for v := 0; v < n; v += 10 {
				w.rowIs(todo(0, fmt.Sprint(v)), 10, col("count", int64(v+9)))
			}
		})
	}},
	{"StaleRowVersionRefusesTheWholeBatch", func(w *world) {
		if w.lacks(rows) {
			return
		}
		s := stream("s")
		w.must(newBatch(events(s, 0, 1), todo(envelope.RowInsert, "a", col("count", int64(1)))))
		w.must(newBatch(todo(envelope.RowPatch, "a", col("count", int64(2)))))
		for _, stale := range []struct {
			row    envelope.Row
			actual uint64
		}{
			{expecting(1, todo(envelope.RowPatch, "a", col("count", int64(9)))), 2},
			{expecting(3, todo(envelope.RowPatch, "a", col("count", int64(9)))), 2},
			{expecting(1, todo(envelope.RowUpsert, "a", col("count", int64(9)))), 2},
			{expecting(0, todo(envelope.RowUpsert, "a", col("count", int64(9)))), 2},
			{expecting(1<<40, todo(envelope.RowDelete, "a")), 2},
			{expecting(1, todo(envelope.RowUpsert, "absent")), 0},
			{expecting(1, todo(envelope.RowPatch, "absent")), 0},
			{expecting(1, todo(envelope.RowDelete, "absent")), 0},
		} {
			_, err := w.commit(newBatch(events(s, 1, 1), todo(envelope.RowUpsert, "before"), stale.row, todo(envelope.RowUpsert, "behind"), snap(s, 1)))
			w.rowConflict(err, stale.row, stale.actual)
		}
		w.inEveryLife(func() {
			w.versions(s, 1)
			w.noSnapshot(s, 1)
			w.rowIs(todo(0, "a"), 2, col("count", int64(2)))
			for _, id := range []string{"before", "behind", "absent"} {
				w.noRow(todo(0, id))
			}
		})
		w.must(newBatch(events(s, 1, 1), expecting(2, todo(envelope.RowPatch, "a", col("count", int64(3))))))
		w.inEveryLife(func() { w.rowIs(todo(0, "a"), 3, col("count", int64(3))) })
	}},
	{"InsertOfAPresentRowIsRefused", func(w *world) {
		if w.lacks(rows) {
			return
		}
		s := stream("s")
		w.must(newBatch(todo(envelope.RowUpsert, "a", col("task", "first"))))
		check := func() {
			for _, row := range []envelope.Row{todo(envelope.RowInsert, "a", col("task", "second")), expecting(0, todo(envelope.RowInsert, "a"))} {
				_, err := w.commit(newBatch(events(s, 0, 1), row))
				w.rowConflict(err, row, 1)
			}
			w.versions(s, 0)
			w.rowIs(todo(0, "a"), 1, col("task", "first"))
		}
		w.inEveryLife(check)
		// Also when both are in one queue.
		first, second := w.submit(newBatch(events(s, 0, 1), todo(envelope.RowInsert, "b"))), w.submit(newBatch(events(s, 1, 1), todo(envelope.RowInsert, "b")))
		_, err := w.outcome(first)
		require.NoError(w, err)
		_, err = w.outcome(second)
		w.rowConflict(err, todo(envelope.RowInsert, "b"), 1)
		w.versions(s, 1)
	}},
	{"PatchOfAnAbsentRowIsRefused", func(w *world) {
		if w.lacks(rows) {
			return
		}
		s := stream("s")
		w.must(newBatch(todo(envelope.RowInsert, "gone")))
		w.must(newBatch(todo(envelope.RowDelete, "gone")))
		w.inEveryLife(func() {
			for _, id := range []string{"absent", "gone"} {
				row := todo(envelope.RowPatch, id, col("task", "x"))
				_, err := w.commit(newBatch(events(s, 0, 1), row))
				w.rowConflict(err, row, 0)
				w.noRow(row)
			}
			w.versions(s, 0)
		})
	}},
	{"DeleteOfAnAbsentRowIsNoError", func(w *world) {
		if w.lacks(rows) {
			return
		}
		s := stream("s")
		w.must(newBatch(events(s, 0, 1), todo(envelope.RowDelete, "absent")))
		w.must(newBatch(todo(envelope.RowDelete, "absent")))
		w.inEveryLife(func() {
			w.versions(s, 1)
			w.noRow(todo(0, "absent"))
		})
	}},
	{"RowTypesComeBack", func(w *world) {
		if w.lacks(rows) {
			return
		}
		for i, values := range [][]any{
			{false, int64(0), uint64(0), 0.0, "", []byte{}, time.Time{}, json.RawMessage(`{}`)},
			{true, int64(math.MaxInt64), uint64(math.MaxInt64), math.MaxFloat64, "ä '\"\\% 日本\n", allBytes(), time.Unix(0, 0), json.RawMessage(`[]`)},
			{true, int64(math.MinInt64), uint64(1), -math.SmallestNonzeroFloat64, strings.Repeat("x", 100_000), make([]byte, 100_000),
				time.Date(2300, 12, 31, 23, 59, 59, 999_999_999, time.UTC), json.RawMessage(" {\n\"b\" : [1, null, true, \"ü\"], \"a\": {}}")},
			{false, int64(-1), uint64(7), 0.1, "1", []byte("text"), time.Date(2026, 2, 3, 4, 5, 6, 123_456_000, time.FixedZone("", 3600*5)), json.RawMessage(`"text"`)},
			{true, int64(1 << 53), uint64(1<<53 + 1), 1e15, "NULL", []byte{0}, time.Date(1969, 7, 20, 20, 17, 40, 1000, time.UTC), json.RawMessage(`1.5`)},
			{nil, nil, nil, nil, nil, nil, nil, nil},
		} {
			id := fmt.Sprint(i)
			row := envelope.Row{Table: "kinds", Op: envelope.RowUpsert, Key: []envelope.Column{col("id", id)}}
			for k, name := range []string{"b", "i", "u", "f", "s", "x", "t", "j"} {
				row.Columns = append(row.Columns, col(name, values[k]))
			}
			w.must(newBatch(row))
			w.inEveryLife(func() { w.rowIs(row, 1, row.Columns...) })
			// A value can be taken away again.
			for k := range row.Columns {
				row.Columns[k].Value = nil
			}
			w.must(newBatch(row))
			w.rowIs(row, 2)
		}
	}},
	{"RowKeysAreToldApart", func(w *world) {
		if w.lacks(rows) {
			return
		}
		line := func(id string, line int64, cols ...envelope.Column) envelope.Row {
			return envelope.Row{
				Table: "order", Op: envelope.RowInsert, Columns: cols,
				Key: []envelope.Column{col("select", id), col("Line", line)},
			}
		}
		alike := []envelope.Row{
			line("1", 1), line("1", 11), line("11", 1), line("a", 1), line("A", 1), line("a ", 1), line("", 1), line("ä", 1), line("a\u0308", 1),
			line("a' Line=2", 1), line("a", -1), todo(envelope.RowInsert, "1"), todo(envelope.RowInsert, "a"), todo(envelope.RowInsert, ""),
		}
		for i := range alike {
			if alike[i].Table == "order" {
				alike[i].Columns = []envelope.Column{col("group", fmt.Sprint(i)), col("Amount", int64(i))}
			} else {
				alike[i].Columns = []envelope.Column{col("task", fmt.Sprint(i))}
			}
		}
		b := newBatch()
		b.Rows = alike
		w.must(b)
		w.inEveryLife(func() {
			for _, row := range alike {
				w.rowIs(row, 1, row.Columns...)
				slices.Reverse(row.Key) // the order of its columns does not matter
				w.rowIs(row, 1, row.Columns...)
			}
		})
		turned := line("1", 1, col("Amount", int64(-5)))
		slices.Reverse(turned.Key)
		turned.Op = envelope.RowPatch
		w.must(newBatch(turned))
		w.rowIs(turned, 2, col("Amount", int64(-5)), col("group", "0"))
		w.must(newBatch(envelope.Row{Table: "order", Op: envelope.RowDelete, Key: []envelope.Column{col("Line", uint64(11)), col("select", "1")}}))
		w.noRow(line("1", 11)) // an integer is one of either sign
	}},
	{"RowThatDoesNotFitItsTableFailsAlone", func(w *world) {
		if w.lacks(rows) {
			return
		}
		_, _, err := w.j.Row(w.ctx, "todos", nil)
		require.ErrorIs(w, err, journal.ErrInvalid, "a row of no key")
		if w.harness.Tables == nil {
			return // any row fits
		}
		misfits := []envelope.Row{
			todo(envelope.RowUpsert, "x", col("no such column", "x")),
			{Table: "no such table", Op: envelope.RowUpsert, Key: []envelope.Column{col("id", "x")}},
			{Table: "order", Op: envelope.RowUpsert, Key: []envelope.Column{col("select", "half a key")}},
			{Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{col("task", "not the key")}},
		}
		var waiting []*pending
		for i := range 100 {
			b := newBatch(events(stream(fmt.Sprint(i)), 0, 1), todo(envelope.RowUpsert, fmt.Sprint(i)))
			if i%10 == 3 {
				b.Rows = append(b.Rows, misfits[i/10%len(misfits)])
			}
			waiting = append(waiting, w.submit(b))
		}
		for i, p := range waiting {
			_, err := w.outcome(p)
			if i%10 == 3 {
				require.ErrorIs(w, err, journal.ErrInvalid, "%+v", misfits[i/10%len(misfits)])
			} else {
				require.NoError(w, err)
			}
		}
		w.inEveryLife(func() {
			for i := range 100 {
				if i%10 == 3 {
					w.versions(stream(fmt.Sprint(i)), 0)
					w.noRow(todo(0, fmt.Sprint(i)))
				} else {
					w.versions(stream(fmt.Sprint(i)), 1)
					w.rowIs(todo(0, fmt.Sprint(i)), 1)
				}
			}
			for _, misfit := range misfits[1:] {
				_, _, err := w.j.Row(w.ctx, misfit.Table, misfit.Key)
				require.ErrorIs(w, err, journal.ErrInvalid, "%+v", misfit)
			}
		})
	}},
}

func col(name string, value any) envelope.Column { return envelope.Column{Name: name, Value: value} }

// todo is a write to a row of the table "todos".
func todo(op envelope.RowOp, id string, columns ...envelope.Column) envelope.Row {
	return envelope.Row{Table: "todos", Op: op, Key: []envelope.Column{col("id", id)}, Columns: columns}
}

func expecting(version uint64, row envelope.Row) envelope.Row {
	row.Expected = &version
	return row
}

// rowIs demands that the row with the key of row is at version, and has these
// columns with a value.
func (w *world) rowIs(row envelope.Row, version uint64, columns ...envelope.Column) {
	w.Helper()
	got, found, err := w.j.Row(w.ctx, row.Table, row.Key)
	require.NoError(w, err)
	require.True(w, found, "row %s", row.Identity())
	sameRow(w, row, version, columns, got)
}

func (w *world) noRow(row envelope.Row) {
	w.Helper()
	_, found, err := w.j.Row(w.ctx, row.Table, row.Key)
	require.NoError(w, err)
	require.False(w, found, "row %s", row.Identity())
}

func (w *world) rowConflict(err error, row envelope.Row, actual uint64) {
	w.Helper()
	require.ErrorIs(w, err, journal.ErrRowConflict)
	var facts *journal.RowConflictError
	require.ErrorAs(w, err, &facts)
	require.Equal(w, journal.RowConflictError{
		Table: row.Table, Key: row.Identity(), Op: row.Op, Expected: row.Expected, Actual: actual,
	}, *facts)
}

// sameRow demands that got is the row with the key of row, at version, with
// these columns as a store keeps them. A column without a value is the same as
// none: a table has it always, a document does not.
func sameRow(t tb, row envelope.Row, version uint64, columns []envelope.Column, got envelope.StoredRow) {
	t.Helper()
	require.Equal(t, row.Table, got.Table)
	require.Equal(t, version, got.Version, "version of row %s", row.Identity())
	require.Len(t, got.Key, len(row.Key))
	for i := range row.Key {
		sameColumn(t, row.Key[i], got.Key[i])
	}
	byName := func(a, b envelope.Column) int { return strings.Compare(a.Name, b.Name) }
	require.True(t, slices.IsSortedFunc(got.Columns, byName), "columns in the order of their names: %v", got.Columns)
	without := func(c envelope.Column) bool { return c.Value == nil }
	want := slices.SortedFunc(slices.Values(columns), byName)
	want = slices.DeleteFunc(want, without)
	have := slices.DeleteFunc(slices.Clone(got.Columns), without)
	require.Len(t, have, len(want), "columns of row %s: %v", row.Identity(), have)
	for i := range want {
		sameColumn(t, want[i], have[i])
	}
}

// sameColumn demands that got is want, as far as stores tell values apart.
func sameColumn(t tb, want, got envelope.Column) {
	t.Helper()
	require.Equal(t, want.Name, got.Name)
	require.Equal(t, canonical(want.Value), canonical(got.Value), "column %q: want %T %.100v, got %T %.100v", want.Name, want.Value, want.Value, got.Value, got.Value)
	switch want.Value.(type) { // what canonical cannot tell without knowing what was written
	case []byte:
		require.IsType(t, []byte{}, got.Value)
	case string:
		require.IsType(t, "", got.Value)
	}
}

// canonical makes values equal that a store may exchange: true and 1, integers
// of either sign, times of any zone, JSON of any spacing, as bytes or as text.
func canonical(value any) any {
	switch v := value.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case uint64:
		return int64(v)
	case time.Time:
		return v.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	case json.RawMessage:
		return plain(v)
	case []byte:
		return plain(v)
	case string:
		return plain([]byte(v))
	}
	return value
}

// plain is text, or what it says if it is JSON.
func plain(text []byte) any {
	var decoded any
	if json.Unmarshal(text, &decoded) != nil {
		return string(text)
	}
	spaced, err := json.Marshal(decoded)
	if err != nil {
		return string(text)
	}
	return string(spaced)
}
