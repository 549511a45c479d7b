package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// BenchmarkAppend is 1,000 aggregates, each with one batch of an event and a
// message on its way, beside the bare statement for the same, in groups as
// large, on two connections.
func BenchmarkAppend(b *testing.B) {
	const aggregates = 1_000
	b.Run("store=journal", func(b *testing.B) {
		benchAppends(b, aggregates, func(*journal.Batch) bool { return true })
	})
	b.Run("store=journal/row=1", func(b *testing.B) { // one row of a read model each
		benchAppends(b, aggregates, func(batch *journal.Batch) bool {
			batch.Rows = append(batch.Rows, row(batch.Appends[0].Stream.ID, "task"))
			return true
		})
	})
	b.Run("store=journal/stale=5%", func(b *testing.B) {
		var n atomic.Int64
		benchAppends(b, aggregates, func(batch *journal.Batch) bool {
			if n.Add(1)%20 != 0 {
				return true
			}
			batch.Appends[0].Expected += 7
			batch.Appends[0].Records[0].Version += 7
			return false
		})
	})
	b.Run("store=bare", func(b *testing.B) {
		d := newDatabase(b)
		d.exec("CREATE SCHEMA " + d.schema)
		d.exec("CREATE TABLE @heads (stream text PRIMARY KEY, version bigint NOT NULL) WITH (fillfactor = 50)")
		d.exec("CREATE TABLE @events (position bigint GENERATED ALWAYS AS IDENTITY, xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint), stream text, version bigint, name text, data bytea, time timestamptz, PRIMARY KEY (stream, version))")
		d.exec("CREATE INDEX ON @events (xid, position)")
		d.exec("CREATE TABLE @outbox (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message text UNIQUE, name text, data bytea, time timestamptz)")
		query := d.named(`WITH req AS (SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::timestamptz[], $6::text[]) WITH ORDINALITY AS r(stream, version, name, data, time, message, ord)),
			gate AS (INSERT INTO @heads AS h SELECT stream, version FROM req ORDER BY ord ON CONFLICT (stream) DO UPDATE SET version = excluded.version WHERE h.version = excluded.version - 1 RETURNING stream),
			e AS (INSERT INTO @events (stream, version, name, data, time) SELECT r.stream, r.version, r.name, r.data, r.time FROM req r JOIN gate USING (stream) ORDER BY ord RETURNING stream, version, position),
			o AS (INSERT INTO @outbox (message, name, data, time) SELECT r.message, r.name, r.data, r.time FROM req r JOIN gate USING (stream) ORDER BY ord)
			SELECT * FROM e`)
		b.ReportAllocs()
		b.ResetTimer()
		var all sync.WaitGroup
		for c := range 2 {
			all.Go(func() {
				conn, err := pgx.Connect(context.Background(), d.url)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close(context.Background())
				const group = aggregates / 2
				for v := int64(1); int(v) <= (b.N+aggregates-1)/aggregates; v++ {
					var streams, names, ids []string
					var versions []int64
					var data [][]byte
					var times []time.Time
					for i := range group {
						batch := benchBatch(todo(fmt.Sprint("aggregate-", c, "-", i)), uint64(v-1))
						rec := &batch.Appends[0].Records[0]
						streams, names, ids = append(streams, rec.Stream.ID), append(names, rec.Name), append(ids, batch.Messages[0].ID)
						versions, data, times = append(versions, v), append(data, rec.Data), append(times, rec.Time)
					}
					rows, err := conn.Query(context.Background(), query, streams, versions, names, data, times, ids)
					if err != nil {
						b.Error(err)
						return
					}
					n := 0
					for rows.Next() {
						n++
					}
					if rows.Err() != nil || n != group {
						b.Error(n, rows.Err())
						return
					}
				}
			})
		}
		all.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	})
}

// benchAppends has each of so many streams wait for its last batch before the
// next. change says whether the batch, as changed, is stored.
func benchAppends(b *testing.B, streams int, change func(*journal.Batch) bool) {
	d := newDatabase(b)
	j := d.open(nil)
	d.todos()
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := range streams {
		all.Go(func() {
			s := todo(fmt.Sprint("aggregate-", i))
			answer := make(chan error, 1)
			head := uint64(0)
			for range (b.N + streams - 1 - i) / streams {
				batch := benchBatch(s, head)
				good := change(batch)
				j.Submit(batch, func(_ journal.Result, err error) { answer <- err })
				if err := <-answer; (err == nil) != good {
					b.Error(err)
					return
				}
				if good {
					head++
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

var payload = []byte(fmt.Sprintf(`{"task":%q}`, make([]byte, 20)))

func benchBatch(s envelope.Stream, expected uint64) *journal.Batch {
	return &journal.Batch{
		ID: journal.NewBatchID(),
		Appends: []journal.Append{{Stream: s, Expected: expected, Records: []envelope.Record{{
			Stream: s, Version: expected + 1, Time: when, Name: "changed", Schema: 1, Codec: "json", Data: payload,
		}}}},
		Messages: []envelope.Message{{
			ID: fmt.Sprint(s.ID, "-", expected), Kind: envelope.KindEvent, Name: "changed", ContentType: "application/json", Codec: "json",
			Data: payload, Time: when, Source: s, SourceVersion: expected + 1,
		}},
	}
}

// BenchmarkLoadLatest is a cold activation: ten records.
func BenchmarkLoadLatest(b *testing.B) {
	d := newDatabase(b)
	j := d.open(nil)
	commit(b, j, batch(events(todo("1"), 0, 10)))
	b.ReportAllocs()
	for b.Loop() {
		latest, err := j.LoadLatest(b.Context(), todo("1"))
		require.NoError(b, err)
		for _, err := range latest.Records {
			require.NoError(b, err)
		}
	}
}

// BenchmarkCommit is one caller, who waits for each of its batches.
func BenchmarkCommit(b *testing.B) {
	d := newDatabase(b)
	j := d.open(nil)
	v := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		commit(b, j, benchBatch(todo("1"), v))
		v++
	}
}

// BenchmarkHot is one stream, with a thousand batches on their way.
func BenchmarkHot(b *testing.B) {
	d := newDatabase(b)
	j := d.open(nil)
	b.ReportAllocs()
	b.ResetTimer()
	slots := make(chan struct{}, 1_000)
	for v := range b.N {
		slots <- struct{}{}
		j.Submit(benchBatch(todo("1"), uint64(v)), func(_ journal.Result, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
