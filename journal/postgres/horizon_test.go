package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/postgres"
)

// TestLateCommitsAreNotSkipped has writers that take their time between insert
// and commit, some of whom roll back, beside a journal that appends, and beside
// strangers who leave transactions open, one of them in another database. A
// reader by position alone is the control: it must miss some, or the test shows
// nothing.
func TestLateCommitsAreNotSkipped(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	const writers = 32
	each := testenv.Count(20, 200)
	defer d.stranger("")()
	defer d.stranger("postgres")()
	var stop atomic.Bool
	seen, naive := map[string]int{}, map[int64]bool{}
	var readers sync.WaitGroup
	readers.Go(func() {
		var after journal.Position
		for last := false; !last; {
			last = stop.Load()
			for rec, err := range j.ReadAll(context.Background(), after, 0) {
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				if rec.Position.Compare(after) <= 0 {
					t.Errorf("%s after %s", rec.Position, after)
				}
				after = rec.Position
				seen[fmt.Sprint(rec.Stream, rec.Version)]++
			}
		}
	})
	readers.Go(func() {
		conn, err := pgx.Connect(context.Background(), d.url)
		if err != nil {
			t.Errorf("connect: %v", err)
			return
		}
		defer conn.Close(context.Background())
		position := int64(0)
		for last := false; !last; {
			last = stop.Load()
			rows, _ := conn.Query(context.Background(), d.named("SELECT position FROM @events WHERE position > $1 ORDER BY position"), position)
			_, err := pgx.ForEachRow(rows, []any{&position}, func() error { naive[position] = true; return nil })
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
		}
	})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			conn, err := pgx.Connect(context.Background(), d.url)
			if err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			defer conn.Close(context.Background())
			s, head := todo(fmt.Sprint("late", w)), uint64(0)
			for i := range each {
				tx, err := conn.Begin(context.Background())
				if err == nil {
					err = d.append(tx, batch(events(s, head, 1)))
				}
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
				if i%4 == 3 {
					_ = tx.Rollback(context.Background())
				} else if err == nil {
					if err = tx.Commit(context.Background()); err == nil {
						head++
					}
				}
				if err != nil {
					t.Errorf("late writer: %v", err)
					return
				}
			}
		})
		all.Go(func() {
			s := todo(fmt.Sprint("prompt", w))
			for v := range uint64(2 * each) { // while the late one waits
				if _, err := journal.Commit(context.Background(), j, batch(events(s, v, 1))); err != nil {
					t.Errorf("prompt writer: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	stop.Store(true)
	readers.Wait()
	total := int(d.number("SELECT count(*) FROM @events"))
	require.Equal(t, writers*(each*3/4+2*each), total)
	require.Len(t, seen, total, "records that were read")
	for rec, n := range seen {
		require.Equal(t, 1, n, "%s was read", rec)
	}
	require.Less(t, len(naive), total, "the control missed nothing, so the test shows nothing")
	t.Logf("the control missed %d of %d", total-len(naive), total)
}

// stranger opens a transaction that has a number and does nothing more, in a
// database, the journal's if that is empty. The returned function ends it.
func (d *database) stranger(in string) (end func()) {
	d.Helper()
	config := d.raw.Config().Copy()
	if in != "" {
		config.Database = in
	}
	conn, err := pgx.ConnectConfig(context.Background(), config)
	require.NoError(d, err)
	_, err = conn.Exec(context.Background(), "BEGIN; SELECT pg_current_xact_id()")
	require.NoError(d, err)
	return func() { _ = conn.Close(context.Background()) } // which rolls back
}

func TestStrangersOpenTransactionStopsNoReader(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	commit(t, j, batch(events(todo("1"), 0, 1)))
	d.exec("CREATE TABLE @stranger (n int)")
	tx, err := d.raw.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), d.named("INSERT INTO @stranger VALUES (1)"))
	require.NoError(t, err)
	// And one in another database of the server.
	config := d.raw.Config().Copy()
	config.Database = "postgres"
	elsewhere, err := pgx.ConnectConfig(context.Background(), config)
	require.NoError(t, err)
	defer elsewhere.Close(context.Background())
	_, err = elsewhere.Exec(context.Background(), "BEGIN; SELECT pg_current_xact_id()")
	require.NoError(t, err)
	for v := uint64(1); v < 10; v++ {
		commit(t, j, batch(events(todo("1"), v, 1)))
		require.Len(t, readAll(t, j), int(v)+1)
	}
	lag, err := j.Lag(t.Context(), journal.Position{})
	require.NoError(t, err)
	require.Equal(t, uint64(10), lag.Records)
	require.Zero(t, lag.Withheld)
	require.NoError(t, tx.Rollback(context.Background()))
}

func TestLagNamesWhoWithholdsRecords(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	j := d.open(nil)
	commit(t, j, batch(events(todo("1"), 0, 3)))
	conn, err := pgx.Connect(context.Background(), d.url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(context.Background())
	require.NoError(t, err)
	require.NoError(t, d.append(tx, batch(events(todo("late"), 0, 1))))
	commit(t, j, batch(events(todo("1"), 3, 2)))
	require.Len(t, readAll(t, j), 3, "an older record is still on its way")
	lag, err := j.Lag(t.Context(), journal.Position{})
	require.NoError(t, err)
	require.Equal(t, uint64(3), lag.Records)
	require.Equal(t, uint64(2), lag.Withheld)
	require.Equal(t, int(conn.PgConn().PID()), lag.BlockedBy)
	require.NoError(t, tx.Commit(context.Background()))
	records := readAll(t, j)
	require.Len(t, records, 6)
	require.Equal(t, todo("late"), records[3].Stream)
	lag, err = j.Lag(t.Context(), records[5].Position)
	require.NoError(t, err)
	require.Equal(t, journal.Lag{Newest: records[5].Position}, lag)
}

// TestRestoredDumpGoesOnBehindWhatItHolds dumps the journal into another
// database whose server has counted fewer transactions: what is stored there
// next still lies behind.
func TestRestoredDumpGoesOnBehindWhatItHolds(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"pg_dump", "psql"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	d := newDatabase(t)
	j := d.open(nil)
	for v := range uint64(5) {
		commit(t, j, message(batch(events(todo("1"), v, 1)), fmt.Sprint("m", v)))
	}
	require.NoError(t, j.Close())
	// As from a server that is a million transactions ahead.
	d.exec("UPDATE @events SET xid = xid + 1000000")
	d.exec("CREATE DATABASE " + d.schema)
	t.Cleanup(func() { d.exec("DROP DATABASE " + d.schema + " WITH (FORCE)") })
	config := d.raw.Config()
	other, err := url.Parse(d.url)
	require.NoError(t, err)
	require.Equal(t, "/"+config.Database, other.Path)
	other.Path = "/" + d.schema
	restored := other.String()
	plain := func(url string) string {
		return strings.Split(strings.Split(url, "&search_path")[0], "?search_path")[0]
	}
	dump, err := exec.Command("pg_dump", "--schema", d.schema, plain(d.url)).Output()
	require.NoError(t, err)
	restore := exec.Command("psql", "-v", "ON_ERROR_STOP=1", "-q", plain(restored))
	restore.Stdin = strings.NewReader(string(dump))
	out, err := restore.CombinedOutput()
	require.NoError(t, err, "%s", out)

	var last journal.Position
	for life := range 3 {
		j, err := postgres.Open(t.Context(), restored, d.options())
		require.NoError(t, err)
		if life == 0 {
			last = readAll(t, j)[4].Position
		}
		res := commit(t, j, batch(events(todo("1"), uint64(5+life), 1)))
		require.Equal(t, 1, res.Position.Compare(last), "%s after %s", res.Position, last)
		last = res.Position
		records := readAll(t, j)
		require.Len(t, records, 6+life)
		require.Equal(t, last, records[5+life].Position)
		commit(t, j, message(batch(), fmt.Sprint("new", life)))
		// A dispatcher goes on, too: what was there comes before what is new.
		pending := pendingAfter(t, j, 0, 100).Messages
		require.Equal(t, fmt.Sprint("new", life), pending[len(pending)-1].ID)
		if life == 0 {
			require.Len(t, pending, 6)
			require.Equal(t, "m0", pending[0].ID)
		}
		newest := pending[len(pending)-1].Position
		require.Eventually(t, func() bool { return pendingAfter(t, j, 0, 1).Complete >= newest }, 10*time.Second, time.Millisecond)
		ok, err := j.Outbox().Lease(t.Context(), journal.OutboxLease{Token: "t", Owner: "t", Slots: journal.AllSlots}, time.Hour)
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, j.Outbox().Settle(t.Context(), "t", journal.Settlement{Published: []uint64{pending[0].Position}}))
		require.NoError(t, j.Close())
	}
}
