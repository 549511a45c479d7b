package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

// urlVariable names the database that the tests use. Each test makes a schema
// of its own in it.
const urlVariable = "TROUPE_POSTGRES_URL"

// when is a time with microseconds, which is what is kept.
var when = time.Date(2026, 2, 3, 4, 5, 6, 789_123_000, time.UTC)

func todo(id string) envelope.Stream { return envelope.Stream{Type: "todo", ID: id} }

// events appends n events to s, whose data says which they are.
func events(s envelope.Stream, expected uint64, n int) journal.Append {
	a := journal.Append{Stream: s, Expected: expected}
	for i := range n {
		version := expected + uint64(i) + 1
		a.Records = append(a.Records, envelope.Record{
			Stream: s, Version: version, Time: when, Name: "changed", Schema: 1, Codec: "json",
			Data: fmt.Appendf(nil, "%s@%d", s, version),
		})
	}
	return a
}

func batch(appends ...journal.Append) *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Appends: appends}
}

// receipt adds a receipt for a command to b; its reply repeats the id.
func receipt(b *journal.Batch, s envelope.Stream, id string) *journal.Batch {
	b.Receipts = append(b.Receipts, envelope.Receipt{Stream: s, ID: id, Reply: []byte("reply " + id), Codec: "json", Time: when})
	return b
}

// message adds a message to b.
func message(b *journal.Batch, id string) *journal.Batch {
	b.Messages = append(b.Messages, envelope.Message{ID: id, Kind: envelope.KindEvent, Name: "happened", Codec: "json", Data: []byte(`{"id":1}`), Time: when, Key: "k"})
	return b
}

// row is an upsert of a todo.
func row(id, task string) envelope.Row {
	return envelope.Row{
		Table: "todos", Op: envelope.RowUpsert, Key: []envelope.Column{{Name: "id", Value: id}},
		Columns: []envelope.Column{{Name: "task", Value: task}},
	}
}

func databaseURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv(urlVariable)
	if url == "" {
		t.Skip("needs a PostgreSQL server: set " + urlVariable)
	}
	return url
}

var schemas atomic.Int64

// database is a schema of its own in the database of the tests, and how to
// reach it. Tables without a schema are found in it.
type database struct {
	testing.TB
	url, schema string
	raw         *pgx.Conn
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	url := databaseURL(t)
	d := &database{TB: t, schema: fmt.Sprintf("test_%d_%d_%d", os.Getpid(), time.Now().UnixNano()%1e9, schemas.Add(1))}
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	d.raw, err = pgx.ConnectConfig(context.Background(), config)
	require.NoError(t, err)
	separator := "?"
	for _, c := range url {
		if c == '?' {
			separator = "&"
		}
	}
	d.url = url + separator + "search_path=" + d.schema
	t.Cleanup(func() {
		_, err := d.raw.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+d.schema+" CASCADE")
		if err != nil {
			t.Errorf("drop schema: %v", err)
		}
		_ = d.raw.Close(context.Background())
	})
	return d
}

// options are for this schema; tests in which commits fail are quiet.
func (d *database) options() *postgres.Options {
	return &postgres.Options{Schema: d.schema, Logger: slog.New(slog.DiscardHandler)}
}

func (d *database) open(opts *postgres.Options) *postgres.Journal {
	d.Helper()
	if opts == nil {
		opts = d.options()
	}
	opts.Schema = d.schema
	j, err := postgres.OpenAndMigrate(context.Background(), d.url, opts)
	require.NoError(d, err)
	d.Cleanup(func() { _ = j.Close() })
	return j
}

// exec runs a statement beside the journal. %s stands for the schema.
func (d *database) exec(query string, args ...any) {
	d.Helper()
	_, err := d.raw.Exec(context.Background(), d.named(query), args...)
	require.NoError(d, err)
}

func (d *database) number(query string, args ...any) (n int64) {
	d.Helper()
	require.NoError(d, d.raw.QueryRow(context.Background(), d.named(query), args...).Scan(&n))
	return n
}

func (d *database) named(query string) string {
	out := ""
	for i := 0; i < len(query); i++ {
		if query[i] == '@' {
			out += d.schema + "."
			continue
		}
		out += query[i : i+1]
	}
	return out
}

// todos makes a table for rows.
func (d *database) todos() {
	d.exec("CREATE TABLE @todos (id text PRIMARY KEY, task text, done boolean, count bigint, ratio double precision, raw bytea, at timestamptz, doc jsonb, _sourced_version bigint NOT NULL)")
}

func commit(t testing.TB, j journal.Journal, b *journal.Batch) journal.Result {
	t.Helper()
	res, err := journal.Commit(context.Background(), j, b)
	require.NoError(t, err)
	return res
}

// outcome is the answer to a batch that was submitted without waiting.
type outcome struct {
	res journal.Result
	err error
}

func submit(j journal.Journal, b *journal.Batch) <-chan outcome {
	answer := make(chan outcome, 1)
	j.Submit(b, func(res journal.Result, err error) { answer <- outcome{res, err} })
	return answer
}

// readAll reads the whole journal.
func readAll(t testing.TB, j journal.Journal) (records []envelope.Record) {
	t.Helper()
	for rec, err := range j.ReadAll(context.Background(), journal.Position{}, 0) {
		require.NoError(t, err)
		records = append(records, rec)
	}
	return records
}

func load(t testing.TB, j journal.Journal, s envelope.Stream) (records []envelope.Record) {
	t.Helper()
	for rec, err := range j.Load(context.Background(), s, 0) {
		require.NoError(t, err)
		records = append(records, rec)
	}
	return records
}
