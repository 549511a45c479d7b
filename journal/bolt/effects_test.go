package bolt

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func sampleMessage() envelope.Message {
	return envelope.Message{
		ID: "m1", Kind: envelope.KindCommand, Name: "bill", Destination: "billing", Key: "k", ContentType: "application/json",
		Codec: "json", Data: []byte(`{"n":1}`), Time: time.UnixMicro(77).UTC(), Source: envelope.Stream{Type: "todo", ID: "1"}, SourceVersion: 9,
		Metadata: envelope.Metadata{CausationID: "d", Keys: map[string]string{"a": "b"}},
	}
}

func sampleRow() *storedRow {
	return &storedRow{
		version: 3, key: []envelope.Column{{Name: "id", Value: "1"}},
		columns: []envelope.Column{
			{Name: "a"}, {Name: "b", Value: true}, {Name: "c", Value: false}, {Name: "d", Value: int64(math.MinInt64)},
			{Name: "e", Value: uint64(math.MaxInt64)}, {Name: "f", Value: -0.1}, {Name: "g", Value: "text"}, {Name: "h", Value: []byte{}},
			{Name: "i", Value: time.UnixMicro(-5).UTC()}, {Name: "j", Value: json.RawMessage(`{"a": 1}`)},
		},
	}
}

func TestMessageKeepsEverything(t *testing.T) {
	t.Parallel()
	want := sampleMessage()
	value := appendMessage(nil, 7, &want, journal.BatchID{1})
	require.LessOrEqual(t, len(value), messageBytes(&want))
	got, batch, err := parseMessage(7, value)
	require.NoError(t, err)
	require.Equal(t, journal.BatchID{1}, batch)
	require.Equal(t, envelope.StoredMessage{Message: want, Position: 7, Slot: want.Slot()}, got)
	_, _, err = parseMessage(8, value)
	require.ErrorIs(t, err, journal.ErrCorrupt, "a message found at another position")
	requireEveryBitMatters(t, value, func() error { _, _, err := parseMessage(7, value); return err })
}

func TestRowKeepsTypes(t *testing.T) {
	t.Parallel()
	want, key := sampleRow(), []byte("key")
	value := appendRow(nil, key, want)
	got, err := parseRow(key, value)
	require.NoError(t, err)
	require.Equal(t, *want, got)
	_, err = parseRow([]byte("other"), value)
	require.ErrorIs(t, err, journal.ErrCorrupt, "a row found under another key")
	requireEveryBitMatters(t, value, func() error { _, err := parseRow(key, value); return err })
}

func requireEveryBitMatters(t *testing.T, value []byte, parse func() error) {
	t.Helper()
	for bit := range 8 * len(value) {
		value[bit/8] ^= 1 << (bit % 8)
		require.ErrorIs(t, parse(), journal.ErrCorrupt)
		value[bit/8] ^= 1 << (bit % 8)
	}
	require.NoError(t, parse())
}

// Keys are equal where the identities of their rows are.
func TestRowKeysAreThoseOfIdentities(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1_000)
	instant := time.Date(2026, 2, 3, 4, 5, 6, 7_000, time.FixedZone("", 3600))
	values := []any{
		int64(1), uint64(1), int64(-1), 1.0, 1.5, true, false, "", "1", "true", "a", "a ", "\x01", "b", "a' b=1", long, long + "y",
		[]byte{}, []byte("1"), instant, instant.UTC(), instant.Add(time.Microsecond), instant.Add(time.Nanosecond), json.RawMessage(`{"a":1}`), json.RawMessage("2"),
	}
	var rows []envelope.Row
	for _, table := range []string{"t", "u", "tu"} {
		for _, v := range values {
			rows = append(rows, envelope.Row{Table: table, Key: []envelope.Column{{Name: "a", Value: v}}})
			rows = append(rows, envelope.Row{Table: table, Key: []envelope.Column{{Name: "a", Value: v}, {Name: "b", Value: int64(1)}}})
		}
	}
	for _, a := range rows {
		require.LessOrEqual(t, len(rowKey(a.Table, a.Key)), maxRowKeyBytes+64)
		turned := slices.Clone(a.Key)
		slices.Reverse(turned)
		require.Equal(t, rowKey(a.Table, a.Key), rowKey(a.Table, turned))
		for _, b := range rows {
			same := a.Identity() == b.Identity()
			require.Equal(t, same, string(rowKey(a.Table, a.Key)) == string(rowKey(b.Table, b.Key)), "%s and %s", a.Identity(), b.Identity())
		}
	}
}

// FuzzEffects feeds the decoders what passes the checksum: there is no panic.
func FuzzEffects(f *testing.F) {
	m := sampleMessage()
	value := appendMessage(nil, 7, &m, journal.BatchID{1})
	f.Add(value[:len(value)-4])
	value = appendRow(nil, []byte("key"), sampleRow())
	f.Add(value[:len(value)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		sealed := func(sum uint32) []byte { return binary.BigEndian.AppendUint32(slices.Clone(body), sum) }
		if _, _, err := parseMessage(7, sealed(positionCRC(7, body))); err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt)
		}
		if r, err := parseRow([]byte("key"), sealed(keyedCRC([]byte("key"), body))); err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt)
		} else {
			require.NotZero(t, r.version)
		}
	})
}

func TestHeadOfATruncatedStream(t *testing.T) {
	t.Parallel()
	key := streamKey(envelope.Stream{Type: "todo", ID: "1"})
	h := head{version: 70, position: 500, block: 440, first: 66}
	got, err := parseHead(key, appendHead(nil, key, h))
	require.NoError(t, err)
	require.Equal(t, h, got)
	rec := sampleRecord()
	for _, first := range []uint64{1 << 6, rec.Version} {
		value := appendEvent(nil, 1_000, &rec, head{version: 129, position: 990, block: 900, first: first}, nil)
		e, err := parseEntry(1_000, value)
		require.NoError(t, err)
		require.Equal(t, first, e.headAt(1_000).first)
	}
}

// A reader is given what a row was until the commit that changes it is over.
func TestRowIsNotReadBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	j, err := Open(filepath.Join(t.TempDir(), "journal.db"), nil)
	require.NoError(t, err)
	defer j.Close()
	row := envelope.Row{Table: "t", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: "1"}}, Columns: []envelope.Column{{Name: "n", Value: int64(2)}}}
	_, err = journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Rows: []envelope.Row{row}})
	require.NoError(t, err)
	key := rowKey(row.Table, row.Key)
	former := appendRow(nil, key, &storedRow{version: 9, key: row.Key, columns: []envelope.Column{{Name: "n", Value: int64(1)}}})
	for _, under := range []struct {
		former  []byte
		version uint64
	}{{former, 9}, {nil, 0}} {
		j.ram.Load().rows.set(map[string][]byte{string(key): under.former})
		got, found, err := j.Row(t.Context(), row.Table, row.Key)
		require.NoError(t, err)
		require.Equal(t, under.version > 0, found)
		require.Equal(t, under.version, got.Version)
	}
	j.ram.Load().rows.set(nil)
	got, _, err := j.Row(t.Context(), row.Table, row.Key)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Version)
}
