package journaltest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// fidelityCases hold that what is read is what was written.
var fidelityCases = []Case{
	{"PayloadBytesReturnedExactly", func(w *world) {
		s := stream("s")
		var want []envelope.Record
		for _, data := range [][]byte{
			{}, nil, {0}, allBytes(), []byte("\xff\xfe not UTF-8"), []byte("{\n  \"spaced\" : 1 }\n"),
			[]byte(`{"b":1,"a":1,"a":2}`), []byte(`1.0e+2`), make([]byte, 4095), make([]byte, 4096), make([]byte, 4097),
			make([]byte, 64<<10), make([]byte, envelope.MaxDataBytes),
		} {
			rec := event(s, uint64(len(want)+1))
			rec.Data, rec.Codec = data, "raw"
			want = append(want, rec)
		}
		w.storedExactly(s, want)
	}},
	{"NamesReturnedExactly", func(w *world) {
		long := strings.Repeat("x", envelope.MaxNameBytes)
		for _, name := range []string{"a", "A", " a ", "ä", "日本語/…:;\"'\\%_*?[]{}", "🎭", "\u200b", long, "-", "0", "null"} {
			s := envelope.Stream{Type: name, ID: name}
			rec := event(s, 1)
			rec.Name, rec.Schema = name, math.MaxUint32
			if rec.Codec = name; len(name) > envelope.MaxCodecBytes {
				rec.Codec = name[:envelope.MaxCodecBytes]
			}
			w.storedExactly(s, []envelope.Record{rec})
		}
	}},
	{"MetadataRoundTrip", func(w *world) {
		s := stream("s")
		many := map[string]string{}
		for i := range envelope.MaxMetadataKeys {
			many[fmt.Sprint("key-", i)] = strings.Repeat("v", i)
		}
		var want []envelope.Record
		for _, m := range []envelope.Metadata{
			{},
			{CorrelationID: "c", CausationID: "d", CommandID: "e"},
			{CausationID: "only"},
			{Keys: map[string]string{}},
			{Keys: map[string]string{"empty": "", "tenant": "acme", "u~": "日本\t", "traceparent": "00-1-2-01", "replaced": "\uFFFD"}},
			{CommandID: strings.Repeat("x", envelope.MaxCommandIDBytes), Keys: many},
			{Keys: map[string]string{strings.Repeat("k", envelope.MaxMetadataKeyBytes): strings.Repeat("v", envelope.MaxMetadataValueBytes)}},
		} {
			rec := event(s, uint64(len(want)+1))
			rec.Metadata = m
			want = append(want, rec)
		}
		w.storedExactly(s, want)
	}},
	{"TimeRoundTrip", func(w *world) {
		s := stream("s")
		var want []envelope.Record
		for _, t := range []time.Time{
			{}, time.Unix(0, 0), time.Unix(0, 1000), time.Unix(-1, 999_999_000), time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC),
			time.Date(1600, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(2026, 2, 3, 4, 5, 6, 123_456_000, time.FixedZone("", 3600*5)),
			time.Date(2026, 2, 3, 4, 5, 6, 123_456_789, time.UTC), time.Now(), time.Date(2300, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
			time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		} {
			rec := event(s, uint64(len(want)+1))
			rec.Time = t
			want = append(want, rec)
		}
		w.storedExactly(s, want)
		require.True(w, w.load(s, 0)[0].Time.IsZero(), "the zero time stays zero")
	}},
	{"PositionsAgree", func(w *world) {
		// The answer, Load and ReadAll name the same place.
		a, b := stream("a"), stream("b")
		first := w.must(newBatch(events(a, 0, 3)))
		second := w.must(newBatch(events(b, 0, 2), events(a, 3, 1)))
		w.inEveryLife(func() {
			all := w.readAll(journal.Position{}, 6)
			require.Equal(w, first.Position, all[2].Position)
			require.Equal(w, second.Position, all[5].Position)
			for _, s := range []envelope.Stream{a, b} {
				var fromAll []envelope.Record
				for _, rec := range all {
					if rec.Stream == s {
						fromAll = append(fromAll, rec)
					}
				}
				loaded := w.load(s, 0)
				require.Len(w, loaded, len(fromAll))
				for i := range loaded {
					require.False(w, loaded[i].Position.IsZero())
					require.Equal(w, fromAll[i].Position, loaded[i].Position)
					sameRecord(w, fromAll[i], loaded[i])
				}
			}
		})
	}},
}

// storedExactly appends records to the new stream s, half of them at once, and
// demands them back.
func (w *world) storedExactly(s envelope.Stream, records []envelope.Record) {
	w.Helper()
	half := len(records) / 2
	for i := range records[:half] {
		w.must(newBatch(journal.Append{Stream: s, Expected: uint64(i), Records: records[i : i+1]}))
	}
	w.must(newBatch(journal.Append{Stream: s, Expected: uint64(half), Records: records[half:]}))
	w.inEveryLife(func() {
		got := w.load(s, 0)
		require.Len(w, got, len(records))
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)
		fromLatest := w.collect(latest.Records)
		require.Len(w, fromLatest, len(records))
		var fromAll []envelope.Record
		for _, rec := range w.readAll(journal.Position{}, len(records)) {
			if rec.Stream == s {
				fromAll = append(fromAll, rec)
			}
		}
		for i := range records {
			sameRecord(w, records[i], got[i])
			sameRecord(w, records[i], fromLatest[i])
			if len(fromAll) == len(records) {
				sameRecord(w, records[i], fromAll[i])
			}
		}
	})
}
