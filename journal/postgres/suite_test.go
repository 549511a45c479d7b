package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/journaltest"
	"github.com/troupe-go/troupe/journal/postgres"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"contend": childContend})
	goleak.VerifyTestMain(m)
}

// columnTypes are those of the suite's tables.
var columnTypes = map[journaltest.ColumnType]string{
	journaltest.ColumnBool: "boolean", journaltest.ColumnInt: "bigint", journaltest.ColumnFloat: "double precision",
	journaltest.ColumnText: "text", journaltest.ColumnBytes: "bytea", journaltest.ColumnTime: "timestamptz", journaltest.ColumnJSON: "jsonb",
}

func (d *database) tables(_ testing.TB, tables []journaltest.Table) {
	quoted := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	for _, table := range tables {
		var columns, key []string
		for _, c := range table.Key {
			columns = append(columns, quoted(c.Name)+" "+columnTypes[c.Type])
			key = append(key, quoted(c.Name))
		}
		for _, c := range table.Columns {
			columns = append(columns, quoted(c.Name)+" "+columnTypes[c.Type])
		}
		d.exec(fmt.Sprintf("CREATE TABLE @%s (%s, %s bigint NOT NULL, PRIMARY KEY (%s))", quoted(table.Name),
			strings.Join(columns, ", "), quoted(envelope.RowVersionColumn), strings.Join(key, ", ")))
	}
}

// hold appends as another program may that writes to the tables, and leaves it
// uncommitted.
func (d *database) hold(t testing.TB, b *journal.Batch) (release func(commit bool)) {
	conn, err := pgx.Connect(context.Background(), d.url)
	require.NoError(t, err)
	tx, err := conn.Begin(context.Background())
	require.NoError(t, err)
	require.NoError(t, d.append(tx, b))
	return func(commit bool) {
		if commit {
			require.NoError(t, tx.Commit(context.Background()))
		} else {
			require.NoError(t, tx.Rollback(context.Background()))
		}
		require.NoError(t, conn.Close(context.Background()))
	}
}

// append stores the events of b in the way that docs/formats/postgres.md asks
// of those who write by other means.
func (d *database) append(tx pgx.Tx, b *journal.Batch) error {
	ctx := context.Background()
	if _, err := tx.Exec(ctx, d.named("LOCK TABLE @events IN ROW EXCLUSIVE MODE")); err != nil {
		return err
	}
	for _, a := range b.Appends {
		n := int64(len(a.Records))
		tag, err := tx.Exec(ctx, d.named(`INSERT INTO @heads AS h (type, id, version, events, batch)
			SELECT $1, $2, $3::bigint, $4::bigint, $5 WHERE $3::bigint = $4::bigint OR EXISTS (SELECT FROM @heads WHERE type = $1 AND id = $2 AND version > 0)
			ON CONFLICT (type, id) DO UPDATE SET version = excluded.version, events = excluded.events, batch = excluded.batch
			WHERE h.version = excluded.version - excluded.events`),
			a.Stream.Type, a.Stream.ID, int64(a.Expected)+n, n, b.ID[:])
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return journal.ErrConflict
		}
		for i, rec := range a.Records {
			var id []byte
			if i == 0 {
				id = b.ID[:]
			}
			_, err := tx.Exec(ctx, d.named(`INSERT INTO @events (type, id, version, slice, batch, time, name, schema, codec, data, metadata)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`),
				a.Stream.Type, a.Stream.ID, int64(rec.Version), a.Stream.Slice(), id, rec.Time, rec.Name, int64(rec.Schema), rec.Codec, rec.Data, metadata(rec))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func metadata(rec envelope.Record) *string {
	if rec.Metadata.IsZero() {
		return nil
	}
	encoded, _ := json.Marshal(rec.Metadata)
	text := string(encoded)
	return &text
}

const queueBytes = 1 << 20

// harness opens journals of their own schema, with groups of at most so many
// events.
func harness(groupEvents, committers int) journaltest.Open {
	return func(t testing.TB) journaltest.Harness {
		d := newDatabase(t)
		open := func(t testing.TB) journal.Journal {
			j, err := postgres.OpenAndMigrate(context.Background(), d.url, &postgres.Options{
				Schema: d.schema, QueueBytes: queueBytes, MaxGroupEvents: groupEvents, Committers: committers,
				Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			return j
		}
		return journaltest.Harness{
			Journal: open(t), Reopen: open, Second: open, QueueBytes: queueBytes,
			Tables: d.tables, Hold: d.hold,
		}
	}
}

func TestSuite(t *testing.T) { journaltest.Run(t, harness(0, 0)) }

// With small groups, what happens between groups happens often.
func TestSuiteInSmallGroups(t *testing.T) { journaltest.Run(t, harness(7, 3)) }

func TestModel(t *testing.T) { journaltest.RunModel(t, harness(0, 0)) }

func TestAllPartsAreTaken(t *testing.T) { journaltest.AllPartsTaken(t, newDatabase(t).open(nil)) }
