package bolt

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

func sampleRecord() envelope.Record {
	return envelope.Record{
		Stream: envelope.Stream{Type: "todo", ID: "42"}, Version: 130,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6_000, time.UTC),
		Name: "initialized", Schema: 3, Codec: "json", Data: []byte(`{"task":"x"}`),
		Metadata: envelope.Metadata{
			CorrelationID: "c", CausationID: "d", CommandID: "e",
			Keys: map[string]string{"tenant": "acme", "empty": "", "zone": "eu"},
		},
	}
}

func sampleOpening() *opening {
	own, other := sampleRecord().Stream, envelope.Stream{Type: "user", ID: "7"}
	return &opening{batch: journal.BatchID{1, 2, 3}, receipts: []envelope.Receipt{
		{Stream: own, ID: "first", Reply: []byte("yes"), Codec: "json", Version: 130, Time: time.UnixMicro(1).UTC()},
		{Stream: other, ID: "second", Time: time.Time{}},
		{Consumer: "mailer", ID: "m1", Time: time.UnixMicro(2).UTC()},
	}}
}

func TestEntryKeepsEverything(t *testing.T) {
	t.Parallel()
	rec, open := sampleRecord(), sampleOpening()
	const position = 1_000
	for _, o := range []*opening{open, nil} {
		for _, zero := range []bool{false, true} {
			if zero {
				rec.Metadata, rec.Time, rec.Data = envelope.Metadata{}, time.Time{}, nil
			}
			value := appendEvent([]byte("before"), position, &rec, head{version: 129, position: 990, block: 900}, o)[6:]
			require.LessOrEqual(t, len(value), entryBytes(&rec)+receiptsBytes(open.receipts))
			e, err := parseEntry(position, value)
			require.NoError(t, err)
			var arena pageArena
			var names names
			got := e.record(position, &arena, &names)
			require.True(t, e.is(rec.Stream))
			got.Stream, got.Position = rec.Stream, envelope.Position{}
			require.Equal(t, rec, got)
			require.Equal(t, head{version: 130, position: position, block: 900}, e.headAt(position))
			require.Equal(t, [2]uint64{990, 900}, [2]uint64{e.prev, e.block})
			var receipts []envelope.Receipt
			require.True(t, e.parseReceipts(func(r envelope.Receipt) bool { receipts = append(receipts, r); return true }))
			if o != nil {
				require.Equal(t, o.batch, e.batch)
				require.Equal(t, o.receipts, receipts)
			} else {
				require.Empty(t, receipts)
			}
			_, err = parseEntry(position+1, value)
			require.ErrorIs(t, err, journal.ErrCorrupt, "an entry found at another position")
		}
	}
}

func TestEntryWithAnyBitFlippedIsCorrupt(t *testing.T) {
	t.Parallel()
	rec := sampleRecord()
	value := appendEvent(nil, 1_000, &rec, head{version: 129, position: 990, block: 900}, sampleOpening())
	for bit := range 8 * len(value) {
		value[bit/8] ^= 1 << (bit % 8)
		_, err := parseEntry(1_000, value)
		require.ErrorIs(t, err, journal.ErrCorrupt)
		value[bit/8] ^= 1 << (bit % 8)
	}
	for n := range value {
		_, err := parseEntry(1_000, value[:n])
		require.ErrorIs(t, err, journal.ErrCorrupt)
	}
}

// FuzzEntry feeds the decoder what passes the checksum: whatever it is, there
// is no panic, and what is accepted stays within the value.
func FuzzEntry(f *testing.F) {
	rec := sampleRecord()
	value := appendEvent(nil, 1_000, &rec, head{version: 129, position: 990, block: 900}, sampleOpening())
	f.Add(uint64(1_000), value[:len(value)-4])
	value = appendNote(nil, 7, sampleOpening())
	f.Add(uint64(7), value[:len(value)-4])
	effect := &opening{receipts: []envelope.Receipt{{Consumer: "mailer", ID: "m1"}}}
	value = appendEvent(nil, 1_000, &rec, head{version: 129, position: 990, block: 900, first: 100}, effect)
	f.Add(uint64(1_000), value[:len(value)-4])
	value = appendGap(nil, 7, 99)
	f.Add(uint64(7), value[:len(value)-4])
	f.Fuzz(func(t *testing.T, position uint64, body []byte) {
		key := uint64Key(position)
		e, err := parseEntry(position, binary.BigEndian.AppendUint32(slices.Clone(body), keyedCRC(key[:], body)))
		if err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt)
			return
		}
		require.Less(t, e.prev, max(position, 1))
		require.LessOrEqual(t, e.block, e.prev)
		require.LessOrEqual(t, e.first, e.version)
		require.LessOrEqual(t, e.gap, uint64(positionsPerBucket))
		var arena pageArena
		var names names
		_ = e.record(position, &arena, &names)
		e.parseReceipts(func(r envelope.Receipt) bool { return len(r.Reply) <= len(body) })
	})
}

func sampleRun(n int) (runInfo, []runEntry, []byte) {
	entries := make([]runEntry, n)
	for i := range entries {
		key := makeReceiptKey(&envelope.Receipt{Stream: envelope.Stream{Type: "todo", ID: "1"}, ID: fmt.Sprint(i)})
		high, low := key.words()
		entries[i] = runEntry{high, low, uint64(i) + 1}
	}
	info := runInfo{number: 9, newest: 77, first: 1, last: uint64(n)}
	value := encodeRun(&info, entries)
	return info, entries, value
}

func TestRunFindsWhatItHolds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 47, 48, 49, 1_000, 100_000} {
		info, _, value := sampleRun(n)
		r, err := parseRun(9, value, false)
		require.NoError(t, err)
		require.Equal(t, info, r.runInfo)
		passed := 0
		for i := range n {
			require.Equal(t, uint64(i)+1, r.find(makeReceiptKey(&envelope.Receipt{Stream: envelope.Stream{Type: "todo", ID: "1"}, ID: fmt.Sprint(i)})))
		}
		for i := range 10_000 {
			key := makeReceiptKey(&envelope.Receipt{Stream: envelope.Stream{Type: "todo", ID: "2"}, ID: fmt.Sprint(i)})
			require.Zero(t, r.find(key))
			if passesFilter(&r, key) {
				passed++
			}
		}
		require.Less(t, passed, 500, "strangers that pass the filter of %d", n)
		_, err = parseRun(8, value, false)
		require.ErrorIs(t, err, journal.ErrCorrupt, "a run found under another number")
		value[len(value)-1]++
		_, err = parseRun(9, value, false)
		require.ErrorIs(t, err, journal.ErrCorrupt)
	}
}

func TestRunFindsKeysThatAreNotSpreadOut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	entries := make([]runEntry, 5_000)
	for i := range entries {
		entries[i] = runEntry{high: random.Uint64N(100), low: random.Uint64(), position: uint64(i) + 1}
	}
	want := slices.Clone(entries)
	info := runInfo{number: 1}
	r, err := parseRun(1, encodeRun(&info, entries), false)
	require.NoError(t, err)
	for _, e := range want {
		var key receiptKey
		binary.BigEndian.PutUint64(key[:], e.high)
		binary.BigEndian.PutUint64(key[8:], e.low)
		require.Equal(t, e.position, r.find(key))
	}
}

// FuzzRun feeds the run decoder arbitrary bytes, as if their checksum had been
// verified: no panic, and finding ends.
func FuzzRun(f *testing.F) {
	_, _, value := sampleRun(100)
	f.Add(value, []byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, value, key []byte) {
		r, err := parseRun(9, value, true)
		if err != nil {
			require.ErrorIs(t, err, journal.ErrCorrupt)
			return
		}
		var k receiptKey
		copy(k[:], key)
		r.find(k)
	})
}

func TestHeadsAndStateFailUnderAnotherKey(t *testing.T) {
	t.Parallel()
	key := appendStreamKey(nil, envelope.Stream{Type: "todo", ID: "1"})
	h := head{version: 70, position: 500, block: 440}
	value := appendHead(nil, key, h)
	got, err := parseHead(key, value)
	require.NoError(t, err)
	require.Equal(t, h, got)
	_, err = parseHead(appendStreamKey(nil, envelope.Stream{Type: "tod", ID: "o1"}), value)
	require.ErrorIs(t, err, journal.ErrCorrupt)
	want := state{last: 9, checkpoint: 3, spilled: 4, heads: 2, headsSum: 99, newest: 8, messages: 5, messageIDs: 4, messagesSum: 6, rows: 7, rowsBytes: 8, rowsSum: 9, swept: 2}
	stored := want.append(nil)
	read, old, err := parseState(stored)
	require.NoError(t, err)
	require.Equal(t, want, read)
	require.False(t, old)
	for i := range stored {
		stored[i] ^= 0x10
		_, _, err = parseState(stored)
		require.ErrorIs(t, err, journal.ErrCorrupt)
		stored[i] ^= 0x10
	}
}

func TestBrokenSnapshotIsNone(t *testing.T) {
	t.Parallel()
	s := envelope.Stream{Type: "todo", ID: "1"}
	key := appendStreamKey(nil, s)
	want := snapshot.Snapshot{Stream: s, Version: 7, Schema: 2, Fingerprint: 1 << 63, Codec: "json", Data: []byte("state"), Time: time.UnixMicro(5).UTC()}
	value := appendSnapshot(nil, key, &want)
	got, ok := parseSnapshot(key, value, s)
	require.True(t, ok)
	require.Equal(t, want, got)
	for i := range value {
		value[i] ^= 1
		_, ok := parseSnapshot(key, value, s)
		require.False(t, ok)
		value[i] ^= 1
	}
}

func TestArenaKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	var a arena
	for range 3 {
		var kept []string
		var values [][]byte
		for i := range 3_000 {
			text := strings.Repeat(fmt.Sprint(i%10), 1+i*7%5_000)
			reserve := len(text)
			if i%50 == 0 {
				reserve /= 2 // an estimate that was too low
			}
			value := append(a.reserve(reserve), text...)
			a.keep(value)
			kept, values = append(kept, text), append(values, value)
		}
		for i := range kept {
			require.Equal(t, kept[i], string(values[i]))
		}
		a.reset()
	}
}

// passesFilter reports whether only the entries can tell that key is not in r.
func passesFilter(r *run, key receiptKey) bool {
	full := *r
	full.count, full.entries = 1, make([]byte, runEntryBytes)
	high, low := key.words()
	binary.BigEndian.PutUint64(full.entries, high)
	binary.BigEndian.PutUint64(full.entries[8:], low)
	full.entries[runEntryBytes-1] = 1
	return full.find(key) != 0
}

func TestPositionCRC(t *testing.T) {
	t.Parallel()
	for _, position := range []uint64{0, 1, 0xff, 1 << 40, 1<<64 - 1} {
		key := uint64Key(position)
		require.Equal(t, keyedCRC(key[:], []byte("value")), positionCRC(position, []byte("value")))
		require.Equal(t, keyedCRC(key[:], nil), positionCRC(position, nil))
	}
}
