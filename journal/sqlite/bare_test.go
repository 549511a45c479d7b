package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/commitqueue"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/sqlite"
)

// bare is what a program would do by hand, and the least that the promises of
// a journal take: one goroutine that stores what is queued in one transaction,
// into the same tables, with heads in memory as the gate and prepared INSERTs
// of several rows. It has neither receipts nor fair errors nor other writers.
type bare struct {
	queue    *commitqueue.Queue[bareItem]
	conn     *sql.Conn
	stmts    map[string]*sql.Stmt
	versions map[envelope.Stream]uint64
	finished chan struct{}
}

type bareItem struct {
	batch *journal.Batch
	done  func(journal.Result, error)
}

// bareSettings are what makes SQLite quick, as far as the journal sets it too.
const bareSettings = "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=temp_store(MEMORY)" +
	"&_pragma=cache_size(-64000)&_pragma=wal_autocheckpoint(4000)"

var bareSizes = []int{64, 8, 1}

func openBare(b *testing.B) *bare {
	path := filepath.Join(b.TempDir(), "bare.db")
	j, err := sqlite.OpenAndMigrate(b.Context(), path, nil)
	require.NoError(b, err)
	require.NoError(b, j.Close())
	db, err := sql.Open("sqlite", path+"?"+bareSettings)
	require.NoError(b, err)
	conn, err := db.Conn(b.Context())
	require.NoError(b, err)
	s := &bare{
		queue: commitqueue.New[bareItem](100_000, 64<<20), conn: conn,
		stmts: map[string]*sql.Stmt{}, versions: map[envelope.Stream]uint64{}, finished: make(chan struct{}),
	}
	go s.run()
	b.Cleanup(func() {
		s.queue.Close()
		<-s.finished
		_ = conn.Close()
		_ = db.Close()
	})
	return s
}

func (s *bare) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if err := s.queue.Put(commitqueue.Item[bareItem]{Value: bareItem{b, done}, Events: b.Events(), Bytes: b.SizeBytes()}); err != nil {
		done(journal.Result{}, err)
	}
}

func (s *bare) run() {
	defer close(s.finished)
	var items []commitqueue.Item[bareItem]
	for s.queue.Wait() {
		s.queue.Regroup(len(items))
		if items = s.queue.Take(items, 10_000, 4<<20); len(items) == 0 {
			continue
		}
		err := s.commit(items)
		for i := range items {
			items[i].Value.done(journal.Result{}, err)
		}
	}
}

func (s *bare) commit(items []commitqueue.Item[bareItem]) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	var events, heads []any
	for i := range items {
		b := items[i].Value.batch
		a := &b.Appends[0]
		if s.versions[a.Stream] != a.Expected {
			return &journal.ConflictError{Stream: a.Stream, Expected: a.Expected}
		}
		for k := range a.Records {
			r := &a.Records[k]
			events = append(events, int64(a.Stream.Slice()), a.Stream.Type, a.Stream.ID, int64(r.Version), b.ID[:],
				r.Time.UnixMicro(), r.Name, int64(r.Schema), r.Codec, r.Data, nil)
			s.versions[a.Stream] = r.Version
		}
		heads = append(heads, a.Stream.Type, a.Stream.ID, int64(s.versions[a.Stream]), 1)
	}
	if err := s.insert("INSERT INTO events (slice, type, id, version, batch, time, name, schema, codec, data, metadata) VALUES ", "", 11, events); err != nil {
		return err
	}
	if err := s.insert("INSERT INTO heads (type, id, version, first) VALUES ",
		" ON CONFLICT (id, type) DO UPDATE SET version = excluded.version", 4, heads); err != nil {
		return err
	}
	return s.exec("COMMIT")
}

// insert stores many rows with few statements.
func (s *bare) insert(before, behind string, columns int, args []any) error {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	for _, n := range bareSizes {
		for ; len(args) >= n*columns; args = args[n*columns:] {
			if err := s.exec(before+row+strings.Repeat(", "+row, n-1)+behind, args[:n*columns]...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *bare) exec(query string, args ...any) error {
	stmt, ok := s.stmts[query]
	if !ok {
		var err error
		if stmt, err = s.conn.PrepareContext(context.Background(), query); err != nil {
			return err
		}
		s.stmts[query] = stmt
	}
	_, err := stmt.ExecContext(context.Background(), args...)
	return err
}
