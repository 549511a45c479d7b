package journaltest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// loadCases hold how streams are read.
var loadCases = []Case{
	{"LoadOfAbsentStreamIsEmpty", func(w *world) {
		w.fill(stream("s"), 3)
		w.inEveryLife(func() {
			for _, s := range []envelope.Stream{stream("absent"), {Type: "todos", ID: "s"}, {Type: "todo"}, {}} {
				for _, after := range []uint64{0, 1, math.MaxUint64} {
					require.Empty(w, w.load(s, after))
				}
				w.noSnapshot(s, 0)
			}
		})
	}},
	{"LoadAfterAnyVersion", func(w *world) {
		s := stream("s")
		w.fill(s, 300)
		w.fill(stream("noise"), 50)
		w.inEveryLife(func() {
			for after := range uint64(302) {
				records := w.load(s, after)
				require.Len(w, records, max(0, 300-int(after)), "records behind %d", after)
				for i, rec := range records {
					sameRecord(w, event(s, after+uint64(i)+1), rec)
				}
			}
			require.Empty(w, w.load(s, math.MaxUint64))
		})
	}},
	{"LoadOfLongStream", func(w *world) {
		const n = 10_000
		s, noise := stream("s"), stream("noise")
		var waiting []*pending
		for v := range uint64(n) {
			waiting = append(waiting, w.submit(newBatch(events(s, v, 1))))
			if v%10 == 0 {
				waiting = append(waiting, w.submit(newBatch(events(noise, v/10, 1))))
			}
		}
		for _, p := range waiting {
			_, err := w.outcome(p)
			require.NoError(w, err)
		}
		w.inEveryLife(func() {
			for _, after := range []uint64{
				0, 1, 62, 63, 64, 65, 127, 128, 129, 999, 1000, 1001, 4095, 4096, 4097,
				8999, 9000, 9935, 9936, 9937, 9984, 9998, 9999, 10_000, 10_001, 1 << 40,
			} {
				records := w.load(s, after)
				require.Len(w, records, max(0, n-int(min(after, n))), "records behind %d", after)
				for i := range records {
					if version := after + uint64(i) + 1; i%97 == 0 {
						sameRecord(w, event(s, version), records[i])
					} else if version != records[i].Version {
						require.Equal(w, version, records[i].Version)
					}
				}
			}
			w.versions(noise, n/10)
		})
	}},
	{"LoadLatest", func(w *world) {
		s := stream("s")
		w.noSnapshot(s, 0)
		w.fill(s, 130)
		w.inEveryLife(func() { w.noSnapshot(s, 130) })
		for _, v := range []uint64{1, 63, 64, 65, 129, 130} {
			w.must(newBatch(snap(s, v)))
			w.inEveryLife(func() { w.snapshotIs(s, snap(s, v), 130) })
		}
		w.fillFrom(s, 130, 131)
		w.inEveryLife(func() {
			w.snapshotIs(s, snap(s, 130), 131)
			latest, err := w.j.LoadLatest(w.ctx, s)
			require.NoError(w, err)
			for _, err := range latest.Records {
				require.NoError(w, err)
				break // nobody has to read them to the end
			}
			_, err = w.j.LoadLatest(w.ctx, s) // nor at all
			require.NoError(w, err)
		})
	}},
	{"LoadLatestIsOfOneMoment", func(w *world) {
		// What it returns stays what it was while the stream moves on.
		s := stream("s")
		w.fill(s, 2500)
		w.must(newBatch(snap(s, 10)))
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)
		w.fillFrom(s, 2500, 2600)
		w.must(newBatch(snap(s, 2600)))
		want := snap(s, 10)
		w.latestIs(latest, s, &want, 2500)
	}},
	{"LoadManyKeepsTheOrder", func(w *world) {
		none, err := w.j.LoadMany(w.ctx, nil)
		require.NoError(w, err)
		require.Empty(w, none)
		var streams []envelope.Stream
		for i := range 60 {
			s := stream(fmt.Sprint(i * 37 % 60))
			streams = append(streams, s)
			if i%3 > 0 {
				w.fill(s, uint64(10+i))
			}
			if i%3 == 2 {
				w.must(newBatch(snap(s, uint64(5+i))))
			}
		}
		w.inEveryLife(func() {
			all, err := w.j.LoadMany(w.ctx, append(streams, streams[1], streams[0])) // twice is no error
			require.NoError(w, err)
			require.Len(w, all, 62)
			for i, s := range streams {
				switch i % 3 {
				case 0:
					w.latestIs(all[i], s, nil, 0)
				case 1:
					w.latestIs(all[i], s, nil, uint64(10+i))
				case 2:
					want := snap(s, uint64(5+i))
					w.latestIs(all[i], s, &want, uint64(10+i))
				}
			}
			w.latestIs(all[60], streams[1], nil, 11)
			w.latestIs(all[61], streams[0], nil, 0)
		})
	}},
	{"AcknowledgedIsVisible", func(w *world) {
		// From the moment of the answer, to every read of the stream.
		for i := range uint64(200) {
			s := stream(fmt.Sprint(i % 7))
			v := i / 7
			w.must(newBatch(events(s, v, 1), snap(s, v+1), receipt(s, fmt.Sprint("id", v), v+1)))
			require.Len(w, w.load(s, v), 1)
			w.snapshotIs(s, snap(s, v+1), v+1)
			_, found, err := w.j.Receipt(w.ctx, s, fmt.Sprint("id", v))
			require.NoError(w, err)
			require.True(w, found)
		}
	}},
	{"SlowReaderStopsNobody", func(w *world) {
		// Readers that hold a record, of each kind, while thousands of
		// appends go through: on the same streams and others.
		s, large := stream("s"), stream("large")
		w.fill(s, 2500)
		for v := range uint64(6) {
			b := newBatch(events(large, v, 1))
			b.Appends[0].Records[0].Data = make([]byte, 700<<10)
			w.must(b)
		}
		total := len(w.readAll(journal.Position{}, 2506))
		latest, err := w.j.LoadLatest(w.ctx, s)
		require.NoError(w, err)

		for i, reader := range []struct {
			name    string
			records iter.Seq2[envelope.Record, error]
			want    int
		}{
			{"LoadLatest", latest.Records, 2500},
			{"Load of large records", w.j.Load(w.ctx, large, 0), 6},
			{"ReadAll", w.j.ReadAll(w.ctx, journal.Position{}, total), total},
			{"Load", w.j.Load(w.ctx, s, 0), 2500 + 3*500},
		} {
			n := 0
			for _, err := range reader.records {
				require.NoError(w, err, reader.name)
				if n++; n == 1 {
					w.writeMeanwhile(s, 2500+uint64(i)*500)
				}
			}
			require.Equal(w, reader.want, n, "%s: records, up to the newest at the time of the call", reader.name)
		}
		w.versions(s, 2500+4*500)
	}},
	{"ReaderMayStopEarly", func(w *world) {
		s := stream("s")
		w.fill(s, 1500)
		for stop := range 50 {
			n := 0
			for rec, err := range w.j.Load(w.ctx, s, 0) {
				require.NoError(w, err)
				if n++; n > stop*30 {
					break
				}
				require.Equal(w, uint64(n), rec.Version)
			}
			for _, err := range w.j.ReadAll(w.ctx, journal.Position{}, 0) {
				require.NoError(w, err)
				break
			}
		}
		w.must(newBatch(events(s, 1500, 1))) // and leaves nothing open
	}},
	{"EndedContextEndsReads", func(w *world) {
		s := stream("s")
		w.fill(s, 5000)
		w.must(newBatch(receipt(s, "id", 5000)))
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		n := 0
		var failed error
		for _, err := range w.j.Load(ctx, s, 0) {
			if failed = err; err != nil {
				break
			}
			if n++; n == 10 {
				cancel()
			}
		}
		require.ErrorIs(w, failed, context.Canceled, "after %d records", n)
		require.LessOrEqual(w, n, 2000, "records after the context ended")

		_, err := drain(w.j.Load(ctx, s, 0))
		require.ErrorIs(w, err, context.Canceled)
		_, err = drain(w.j.ReadAll(ctx, journal.Position{}, 0))
		require.ErrorIs(w, err, context.Canceled)
		_, err = w.j.LoadLatest(ctx, s)
		require.ErrorIs(w, err, context.Canceled)
		_, err = w.j.LoadMany(ctx, []envelope.Stream{s})
		require.ErrorIs(w, err, context.Canceled)
		_, _, err = w.j.Receipt(ctx, s, "id")
		require.ErrorIs(w, err, context.Canceled)

		late, cancelLate := context.WithDeadline(w.ctx, time.Unix(0, 0))
		defer cancelLate()
		_, err = drain(w.j.Load(late, s, 0))
		require.ErrorIs(w, err, context.DeadlineExceeded)
		w.versions(s, 5000) // other readers are not concerned
	}},
	{"EndedContextTakesNoBatchBack", func(w *world) {
		s := stream("s")
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := journal.Commit(ctx, w.j, newBatch(events(s, 0, 1)))
		require.ErrorIs(w, err, context.Canceled)
		require.NotErrorIs(w, err, journal.ErrUnknownOutcome, "the batch was never submitted")
		w.inEveryLife(func() { w.versions(s, 0) })

		// Ended at any time: the batch is stored, or was never submitted, or
		// nobody knows, and then a resubmission settles it.
		head := uint64(0)
		for i := range 200 {
			b := newBatch(events(s, head, 1))
			ctx, cancel := context.WithTimeout(w.ctx, time.Duration(i%20)*5*time.Microsecond)
			_, err := journal.Commit(ctx, w.j, b)
			cancel()
			switch {
			case err == nil:
				head++
			case errors.Is(err, journal.ErrUnknownOutcome):
				w.must(again(b))
				head++
			default:
				require.ErrorIs(w, err, context.DeadlineExceeded)
			}
			w.versions(s, head)
		}
	}},
}

// writeMeanwhile appends 500 events to s behind version head, in half as many
// batches, and 250 to other streams, and waits.
func (w *world) writeMeanwhile(s envelope.Stream, head uint64) {
	w.Helper()
	var waiting []*pending
	for i := range uint64(250) {
		waiting = append(waiting, w.submit(newBatch(events(s, head+2*i, 2))), w.submit(newBatch(events(stream(fmt.Sprint("other", i)), head/500-5, 1))))
	}
	for _, p := range waiting {
		_, err := w.outcome(p)
		require.NoError(w, err, "an append beside a slow reader")
	}
}
