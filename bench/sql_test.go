package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// The bare sides of the SQL journals: what a program would do by hand that
// stores what is queued in one transaction, into the same tables and behind the
// same gate, and knows its versions. They have no receipts, no fair errors and
// no second writer.

// bareGroup is goroutines that each commit what is queued for them.
type bareGroup struct {
	queues  []chan *bareEvent
	running sync.WaitGroup
}

// bareEvent is one event on its way.
type bareEvent struct {
	stream  string
	version int64
	batch   journal.BatchID
	message string // id of its message, empty for none
	answer  chan error
}

func newBareGroup(b *testing.B, commits ...func([]*bareEvent) error) *bareGroup {
	b.Helper()
	g := &bareGroup{}
	for _, commit := range commits {
		queue := make(chan *bareEvent, 20_000)
		g.queues = append(g.queues, queue)
		g.running.Go(func() {
			var group []*bareEvent
			for first := range queue {
				runtime.Gosched() // those that the last group answered come back
				group = append(group[:0], first)
				for len(queue) > 0 && len(group) < 5_000 {
					group = append(group, <-queue)
				}
				err := commit(group)
				for _, e := range group {
					e.answer <- err
				}
			}
		})
	}
	b.Cleanup(func() {
		for _, queue := range g.queues {
			close(queue)
		}
		g.running.Wait()
	})
	return g
}

// drive has each caller append to a stream of its own.
func (g *bareGroup) drive(b *testing.B, callers int, messages bool) func() figures {
	b.Helper()
	events := make([]*bareEvent, callers)
	for i := range events {
		events[i] = &bareEvent{stream: accountID(i), answer: make(chan error, 1)}
	}
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			e := events[caller]
			e.version++
			e.batch = journal.NewBatchID()
			if messages {
				e.message = fmt.Sprint(e.stream, ":deposited:", e.version)
			}
			g.queues[caller%len(g.queues)] <- e
			return <-e.answer
		})
	}
}

var payload = func() []byte {
	data, err := json.Marshal(event(accountID(0), 1))
	if err != nil {
		panic(err)
	}
	return data
}()

// --- SQLite

func openSQLite(b *testing.B, path string) journal.Journal {
	b.Helper()
	j, err := sqlite.OpenAndMigrate(b.Context(), path, &sqlite.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// bareSQLite is one goroutine over one connection, with prepared INSERTs of
// many rows.
func bareSQLite(b *testing.B) *bareGroup {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bare.db")
	if err := openSQLite(b, path).Close(); err != nil { // makes the tables
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=temp_store(MEMORY)"+
		"&_pragma=cache_size(-64000)&_pragma=wal_autocheckpoint(4000)")
	if err != nil {
		b.Fatal(err)
	}
	conn, err := db.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	s := &bareStatements{conn: conn, prepared: map[string]*sql.Stmt{}}
	g := newBareGroup(b, s.commit)
	b.Cleanup(func() { _ = db.Close() }) // behind the group, which is cleaned up first; nothing is written any more
	return g
}

type bareStatements struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (s *bareStatements) commit(group []*bareEvent) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	var events, heads []any
	for _, e := range group {
		events = append(events, 0, "bare", e.stream, e.version, e.batch[:], 0, "deposited", 1, "json", payload)
		heads = append(heads, "bare", e.stream, e.version, 1)
	}
	if err := s.insert("INSERT INTO events (slice, type, id, version, batch, time, name, schema, codec, data) VALUES ", "", 10, events); err != nil {
		return err
	}
	if err := s.insert("INSERT INTO heads (type, id, version, first) VALUES ",
		" ON CONFLICT (id, type) DO UPDATE SET version = excluded.version WHERE heads.version = excluded.version - 1", 4, heads); err != nil {
		return err
	}
	return s.exec("COMMIT")
}

// insert stores many rows with few statements.
func (s *bareStatements) insert(before, behind string, columns int, args []any) error {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	for _, n := range []int{64, 8, 1} {
		for ; len(args) >= n*columns; args = args[n*columns:] {
			if err := s.exec(before+row+strings.Repeat(", "+row, n-1)+behind, args[:n*columns]...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *bareStatements) exec(query string, args ...any) error {
	stmt, ok := s.prepared[query]
	if !ok {
		var err error
		if stmt, err = s.conn.PrepareContext(context.Background(), query); err != nil {
			return err
		}
		s.prepared[query] = stmt
	}
	_, err := stmt.ExecContext(context.Background(), args...)
	return err
}

// --- PostgreSQL

// postgresVariable names the server that the benchmarks use.
const postgresVariable = "TROUPE_POSTGRES_URL"

var schemas atomic.Int64

// pgSchema makes the journal's tables in a schema of the benchmark's own.
func pgSchema(b *testing.B) (url, schema string) {
	b.Helper()
	url = os.Getenv(postgresVariable)
	if url == "" {
		b.Skipf("set %s to run this benchmark: eval \"$(scripts/services.sh up)\"", postgresVariable)
	}
	schema = fmt.Sprintf("bench_%d_%d", time.Now().UnixNano(), schemas.Add(1))
	j, err := postgres.OpenAndMigrate(b.Context(), url, &postgres.Options{Schema: schema, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err == nil {
			_, err = conn.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
			_ = conn.Close(context.Background())
		}
		if err != nil {
			b.Error(err)
		}
	})
	return url, schema
}

func openPostgres(b *testing.B) journal.Journal {
	b.Helper()
	url, schema := pgSchema(b)
	j, err := postgres.Open(b.Context(), url, &postgres.Options{Schema: schema, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// pgPool connects n times to tables of its own.
func pgPool(b *testing.B, n int) *pgxpool.Pool {
	b.Helper()
	url, schema := pgSchema(b)
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = int32(n)
	config.ConnConfig.RuntimeParams["search_path"] = schema
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

const (
	bareGate = `WITH unit AS (SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[], $5::text[]) AS u(id, version, batch, data, message)),
		gate AS (INSERT INTO heads (type, id, version, events, batch) SELECT 'bare', id, version, 1, batch FROM unit ORDER BY id
			ON CONFLICT (type, id) DO UPDATE SET version = excluded.version, batch = excluded.batch
			WHERE heads.version = excluded.version - 1 RETURNING id),
		event AS (INSERT INTO events (type, id, version, slice, batch, time, name, schema, codec, data)
			SELECT 'bare', u.id, u.version, 0, u.batch, now(), 'deposited', 1, 'json', u.data FROM unit u JOIN gate g ON g.id = u.id COLLATE "C"
			RETURNING id)`
	bareMessages = `, message AS (INSERT INTO outbox (slot, message, kind, name, destination, key, content_type, codec, data, time, source_type, source_id, source_version)
			SELECT 0, u.message, 1, 'deposited', '', '', 'application/json', 'json', u.data, now(), 'bare', u.id, u.version
			FROM unit u JOIN gate g ON g.id = u.id COLLATE "C")`
)

// barePostgres is committers that each store a group with one statement.
func barePostgres(b *testing.B, committers int, messages bool) *bareGroup {
	b.Helper()
	pool := pgPool(b, committers)
	query := bareGate
	if messages {
		query += bareMessages
	}
	query += " SELECT count(*) FROM event"
	var commits []func([]*bareEvent) error
	for range committers {
		commits = append(commits, func(group []*bareEvent) error {
			ids, versions, batches := make([]string, len(group)), make([]int64, len(group)), make([][]byte, len(group))
			data, sent := make([][]byte, len(group)), make([]string, len(group))
			for i, e := range group {
				ids[i], versions[i], batches[i], data[i], sent[i] = e.stream, e.version, e.batch[:], payload, e.message
			}
			var stored int
			err := pool.QueryRow(context.Background(), query, ids, versions, batches, data, sent).Scan(&stored)
			if err == nil && stored != len(group) {
				err = fmt.Errorf("%d of %d were stored", stored, len(group))
			}
			return err
		})
	}
	return newBareGroup(b, commits...)
}

// barePostgresEach is BEGIN, two INSERTs and COMMIT for each event, each caller
// on a connection of its own.
func barePostgresEach(b *testing.B, callers int) func() figures {
	b.Helper()
	pool := pgPool(b, callers)
	versions := make([]int64, callers)
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			ctx := context.Background()
			versions[caller]++
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				id, version := accountID(caller), versions[caller]
				_, err := tx.Exec(ctx, `INSERT INTO events (type, id, version, slice, time, name, schema, codec, data)
					VALUES ('bare', $1, $2, 0, now(), 'deposited', 1, 'json', $3)`, id, version, payload)
				if err != nil {
					return err
				}
				_, err = tx.Exec(ctx, `INSERT INTO outbox (slot, message, kind, name, destination, key, content_type, codec, data, time, source_type, source_id, source_version)
					VALUES (0, $1, 1, 'deposited', '', '', 'application/json', 'json', $2, now(), 'bare', $3, $4)`,
					fmt.Sprint(id, ":", version), payload, id, version)
				return err
			})
		})
	}
}

var depositAndTell = aggregate.NewCommand("account.tell",
	func(ctx *aggregate.Context, a *account.Account, d deposit) (int64, error) {
		e := event(d.ID, d.Amount)
		if err := a.Deposit(e.Account, e.Amount, e.Currency, e.Reference, e.Channel); err != nil {
			return 0, err
		}
		ctx.Publish("account.deposited", &e)
		return a.Balance, nil
	})

// asks has callers send command, each to aggregate caller modulo aggregates.
func asks(b *testing.B, j journal.Journal, command *aggregate.Command[account.Account, deposit, int64], aggregates, callers int) func() figures {
	b.Helper()
	h, stop := host(b, j, nil)
	b.Cleanup(stop)
	ids := accountIDs(aggregates)
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			_, err := command.Ask(context.Background(), h, deposit{ids[caller%aggregates], 1})
			return err
		})
	}
}

// BenchmarkOutbox is W with a message for the outbox in each command on
// PostgreSQL, beside the bare gated statement that stores both.
func BenchmarkOutbox(b *testing.B) {
	for _, callers := range []int{64, 1000, 10000} {
		b.Run(fmt.Sprintf("journal=postgres/callers=%d", callers), func(b *testing.B) {
			j := open(b, "postgres")
			comparison(b, asks(b, j, depositAndTell, callers, callers), barePostgres(b, 2, true).drive(b, callers, true))
		})
	}
}

// BenchmarkPostgresOneTransactionEach is W with a message at 1,000 aggregates
// and 1,000 callers, beside BEGIN, two INSERTs and COMMIT on 64 connections.
func BenchmarkPostgresOneTransactionEach(b *testing.B) {
	comparison(b, asks(b, open(b, "postgres"), depositAndTell, 1000, 1000), barePostgresEach(b, 64))
}

// BenchmarkPostgresHot is one aggregate with 1,000 callers, beside one bare
// gated commit for each command, one after the other as the gate demands.
func BenchmarkPostgresHot(b *testing.B) {
	comparison(b, asks(b, open(b, "postgres"), depositCommand, 1, 1000), barePostgres(b, 1, false).drive(b, 1, false))
}

// BenchmarkReplaySQL is the reading of one long stream into an aggregate,
// beside a bare SELECT of the same rows, and beside decoding alone.
func BenchmarkReplaySQL(b *testing.B) {
	const n = 100_000
	b.Run("journal=postgres", func(b *testing.B) {
		url, schema := pgSchema(b)
		j, err := postgres.Open(b.Context(), url, &postgres.Options{Schema: schema, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = j.Close() }) // it was only read
		fillLong(b, j, n)
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close(context.Background()) })
		replaySQL(b, j, n, func() error {
			rows, err := conn.Query(context.Background(), "SELECT version, time, name, schema, codec, data, metadata FROM "+schema+".events WHERE type = $1 AND id = $2 ORDER BY version", "account", accountID(0))
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var version, schema int64
				var at time.Time
				var name, codec string
				var data []byte
				var metadata *string
				if err := rows.Scan(&version, &at, &name, &schema, &codec, &data, &metadata); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
	b.Run("journal=sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "journal.db")
		j := openSQLite(b, path)
		b.Cleanup(func() { _ = j.Close() }) // it was only read
		fillLong(b, j, n)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		replaySQL(b, j, n, func() error {
			rows, err := db.QueryContext(context.Background(), "SELECT version, time, name, schema, codec, data, metadata FROM events WHERE type = ? AND id = ? ORDER BY version", "account", accountID(0))
			if err != nil {
				return err
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
				var version, at, schema int64
				var name, codec string
				var data []byte
				var metadata *string
				if err := rows.Scan(&version, &at, &name, &schema, &codec, &data, &metadata); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
}

// fillLong gives one account n events.
func fillLong(b *testing.B, j journal.Journal, n int) {
	b.Helper()
	a := account.Spec.New(accountID(0))
	r, err := aggregate.NewRepository(j, account.Spec, nil)
	if err != nil {
		b.Fatal(err)
	}
	for range n / 5_000 {
		for range 5_000 {
			e := event(accountID(0), 1)
			if err := a.Deposit(e.Account, e.Amount, e.Currency, e.Reference, e.Channel); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Commit(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.DeleteSnapshot(b.Context(), accountID(0)); err != nil {
		b.Fatal(err)
	}
}

func replaySQL(b *testing.B, j journal.Journal, n int, bareSelect func() error) {
	b.Helper()
	r, err := aggregate.NewRepository(j, account.Spec, nil)
	if err != nil {
		b.Fatal(err)
	}
	perSecond := func(f func() error) float64 {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return float64(n) / time.Since(began).Seconds()
	}
	var replay, bare, decode []float64
	for range *rounds {
		bare = append(bare, perSecond(bareSelect))
		replay = append(replay, perSecond(func() error { _, err := r.Load(b.Context(), accountID(0)); return err }))
		decode = append(decode, perSecond(func() error {
			for range n {
				var e account.AccountDeposited
				if err := json.Unmarshal(payload, &e); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(replay), "events/s")
	b.ReportMetric(median(bare), "select/s")
	b.ReportMetric(median(decode), "decode/s")
	b.ReportMetric(median(replay)/median(bare), "ratio")
	b.ReportMetric(median(replay)/median(decode), "decode-ratio")
}

// BenchmarkLoadWithSnapshot is the load of an aggregate with a snapshot at its
// newest version, for streams of several lengths: microseconds a load.
func BenchmarkLoadWithSnapshot(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		for _, n := range []int{10, 1_000, 100_000} {
			b.Run(fmt.Sprintf("journal=%s/events=%d", name, n), func(b *testing.B) {
				j := open(b, name)
				a := account.Spec.New(accountID(0))
				r, err := aggregate.NewRepository(j, account.Spec, nil)
				if err != nil {
					b.Fatal(err)
				}
				for left := n; left > 0; left -= 5_000 {
					for range min(left, 5_000) {
						e := event(accountID(0), 1)
						if err := a.Deposit(e.Account, e.Amount, e.Currency, e.Reference, e.Channel); err != nil {
							b.Fatal(err)
						}
					}
					if err := r.Commit(b.Context(), a); err != nil {
						b.Fatal(err)
					}
				}
				snap, err := account.Spec.Snapshot(a, time.Now())
				if err != nil {
					b.Fatal(err)
				}
				batch := &journal.Batch{ID: journal.NewBatchID()}
				batch.Snapshots = append(batch.Snapshots, snap)
				if _, err := journal.Commit(b.Context(), j, batch); err != nil {
					b.Fatal(err)
				}
				const loads = 300
				var took []float64
				for range *rounds {
					began := time.Now()
					for range loads {
						if _, err := r.Load(b.Context(), accountID(0)); err != nil {
							b.Fatal(err)
						}
					}
					took = append(took, float64(time.Since(began).Microseconds())/loads)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(took), "µs/load")
			})
		}
	}
}

// BenchmarkManyReceipts is W with a command id for each command beside a
// million stored receipts, beside W with ids on an empty journal.
func BenchmarkManyReceipts(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run("journal="+name, func(b *testing.B) {
			full := open(b, name)
			fillReceipts(b, full, 1_000_000)
			var next atomic.Int64
			withIDs := func(j journal.Journal) func() figures {
				h, stop := host(b, j, nil)
				b.Cleanup(stop)
				ids := accountIDs(1000)
				return func() figures {
					return drive(b, 1000, *roundTime, func(caller, _ int) error {
						_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], 1},
							aggregate.WithCommandID(strconv.FormatInt(next.Add(1), 36)))
						return err
					})
				}
			}
			comparison(b, withIDs(full), withIDs(open(b, name)))
		})
	}
}

// fillReceipts stores receipts of commands that came before.
func fillReceipts(b *testing.B, j journal.Journal, n int) {
	b.Helper()
	const perBatch = 2_000
	for first := 0; first < n; first += perBatch {
		batch := &journal.Batch{ID: journal.NewBatchID()}
		for i := first; i < first+perBatch; i++ {
			batch.Receipts = append(batch.Receipts, envelope.Receipt{
				Stream: account.Spec.Stream(accountID(i % 100_000)), ID: fmt.Sprint("former-", i),
				Reply: []byte("100"), Codec: envelope.CodecJSON, Version: 1, Time: time.Now(),
			})
		}
		if _, err := journal.Commit(b.Context(), j, batch); err != nil {
			b.Fatal(err)
		}
	}
}
