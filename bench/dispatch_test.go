package bench_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/outbox"
)

// nowhere confirms every message and forgets it.
type nowhere struct{}

func (nowhere) Features() bus.Features { return bus.Features{Name: "nowhere", OrderedPublish: true} }

func (nowhere) PublishBatch(context.Context, []envelope.Message) error { return nil }

// fillOutbox puts n messages of about 100 bytes into the outbox of a schema.
func fillOutbox(b *testing.B, conn *pgx.Conn, schema string, n int) {
	b.Helper()
	_, err := conn.Exec(b.Context(), fmt.Sprintf(`INSERT INTO %s.outbox (slot, message, kind, name, destination, key, content_type, codec, data,
			time, source_type, source_id, source_version)
		SELECT i %% 1024, 'acc-' || (i %% 1000) || ':account.deposited:' || i, 1, 'account.deposited', '', 'acc-' || (i %% 1000), 'application/json', 'json',
			$1, now(), 'account', 'acc-' || (i %% 1000), i FROM generate_series(1, $2::int) AS i`, schema), payload, n)
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDispatch is the draining of a full outbox to a publisher that confirms
// at once, beside a bare loop that selects and deletes pages of 1,000.
func BenchmarkDispatch(b *testing.B) {
	const n = 50_000
	b.Run("journal=postgres", func(b *testing.B) {
		url, schema := pgSchema(b)
		j, err := postgres.Open(b.Context(), url, &postgres.Options{Schema: schema, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = j.Close() }) // it was only read
		d, err := outbox.New(j, nowhere{}, &outbox.Options{Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		_, bareSchema := pgSchema(b)
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close(context.Background()) })
		perSecond := func(drain func() error) figures {
			begun := time.Now()
			if err := drain(); err != nil {
				b.Fatal(err)
			}
			return figures{perSecond: n / time.Since(begun).Seconds()}
		}
		framework := func() figures {
			fillOutbox(b, conn, schema, n)
			return perSecond(func() error {
				got, err := d.DispatchOnce(context.Background(), 0)
				if err == nil && got.Published != n {
					err = fmt.Errorf("published %d of %d", got.Published, n)
				}
				return err
			})
		}
		bare := func() figures {
			fillOutbox(b, conn, bareSchema, n)
			return perSecond(func() error { return drainBare(conn, bareSchema) })
		}
		compareThroughput(b, framework, bare)
	})
}

// drainBare selects and deletes until nothing is left.
func drainBare(conn *pgx.Conn, schema string) error {
	ctx := context.Background()
	query := "SELECT position, slot, message, kind, name, destination, key, content_type, codec, data, time, source_type, source_id, source_version, metadata FROM " +
		schema + ".outbox WHERE position > $1 ORDER BY position LIMIT 1000"
	for last := int64(0); ; {
		rows, err := conn.Query(ctx, query, last)
		if err != nil {
			return err
		}
		var positions []int64
		for rows.Next() {
			var position, version int64
			var slot, kind int16
			var message, name, destination, key, contentType, codec, sourceType, sourceID string
			var data []byte
			var at time.Time
			var metadata *string
			if err := rows.Scan(&position, &slot, &message, &kind, &name, &destination, &key, &contentType, &codec, &data, &at, &sourceType, &sourceID, &version, &metadata); err != nil {
				return err
			}
			positions = append(positions, position)
			last = position
		}
		if err := rows.Err(); err != nil || len(positions) == 0 {
			return err
		}
		if _, err := conn.Exec(ctx, "DELETE FROM "+schema+".outbox WHERE position = ANY ($1)", positions); err != nil {
			return err
		}
	}
}

// compareThroughput is comparison for sides that have no callers to time.
func compareThroughput(b *testing.B, framework, bare func() figures) {
	b.Helper()
	var fs, bs, ratios []float64
	for range *rounds {
		x, y := bare().perSecond, framework().perSecond
		bs, fs, ratios = append(bs, x), append(fs, y), append(ratios, y/x)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(fs), "msgs/s")
	b.ReportMetric(median(bs), "bare/s")
	b.ReportMetric(median(ratios), "ratio")
}

// BenchmarkIdleLatency is the time from asking a command that publishes until a
// handler has its message, one at a time, through a dispatcher and a bus in
// memory, beside the same command without the message. With dispatcher=other the
// dispatcher has a journal of its own, as in another process.
func BenchmarkIdleLatency(b *testing.B) {
	for _, name := range []string{"bolt", "sqlite", "postgres"} {
		b.Run("journal="+name, func(b *testing.B) {
			j := open(b, name)
			idleLatency(b, j, j)
		})
	}
	b.Run("journal=postgres/dispatcher=other", func(b *testing.B) {
		url, schema := pgSchema(b)
		both := [2]journal.Journal{}
		for i := range both {
			j, err := postgres.Open(b.Context(), url, &postgres.Options{Schema: schema, Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			both[i] = j
		}
		b.Cleanup(func() { _ = both[1].Close() }) // the other one is closed with its system
		idleLatency(b, both[0], both[1])
	})
}

func idleLatency(b *testing.B, j, dispatching journal.Journal) {
	b.Helper()
	h, stop := host(b, j, nil)
	b.Cleanup(stop)
	broker := membus.New()
	d, err := outbox.New(dispatching, broker, &outbox.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { _ = d.Run(ctx) })
	handled := make(chan struct{}, 1)
	running.Go(func() {
		_ = broker.Subscribe(ctx, bus.NewHandlers().OnEvent("account.deposited", func(context.Context, *envelope.Message) error {
			handled <- struct{}{}
			return nil
		}), bus.Idempotent())
	})
	f, base, _ := comparison(b, func() figures {
		return drive(b, 1, *roundTime, func(int, int) error {
			_, err := depositAndTell.Ask(context.Background(), h, deposit{accountID(0), 1})
			if err == nil {
				<-handled
			}
			return err
		})
	}, func() figures {
		return drive(b, 1, *roundTime, func(int, int) error {
			_, err := depositCommand.Ask(context.Background(), h, deposit{accountID(0), 1})
			return err
		})
	})
	b.ReportMetric(f.p50/base.p50, "p50-ratio")
}
