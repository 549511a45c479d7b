package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// settled commits b, and submits it again until its outcome is known.
func settled(j journal.Journal, b *journal.Batch) error {
	for {
		_, err := journal.Commit(context.Background(), j, b)
		switch {
		case errors.Is(err, journal.ErrUnknownOutcome):
			b.Resubmit = true
		case errors.Is(err, journal.ErrUnavailable):
		default:
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// TestKilledConnectionsHaveNoDoubleEffect ends the server's processes under
// load. Every batch is submitted until its outcome is known, and has its effect
// once.
func TestKilledConnectionsHaveNoDoubleEffect(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	d.todos()
	j := d.open(nil)
	const writers, each = 16, 60
	stop := make(chan struct{})
	var killer sync.WaitGroup
	var killed atomic.Int64
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(25 * time.Millisecond):
			}
			// Of this test's journal alone: those whose last statement names its schema.
			killed.Add(d.number("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%' || $1 || '%'", d.schema))
		}
	})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			s, shared := todo(fmt.Sprint(w)), todo(fmt.Sprint("shared", w/2))
			for v := range uint64(each) {
				b := receipt(message(batch(events(s, v, 1)), fmt.Sprint(w, "-", v)), s, fmt.Sprint(v))
				switch v % 3 {
				case 1:
					b.Rows = append(b.Rows, row(fmt.Sprint(w), fmt.Sprint(v)))
				case 2: // a neighbour has it too
					latest, err := j.LoadLatest(context.Background(), shared)
					for errors.Is(err, journal.ErrUnavailable) {
						latest, err = j.LoadLatest(context.Background(), shared)
					}
					if err != nil {
						t.Errorf("load: %v", err)
						return
					}
					b.Appends = append(b.Appends, events(shared, latest.Version, 1))
				}
				err := settled(j, b)
				if errors.Is(err, journal.ErrConflict) && len(b.Appends) == 2 { // the neighbour was first: without
					b.ID, b.Resubmit, b.Appends = journal.NewBatchID(), false, b.Appends[:1]
					err = settled(j, b)
				}
				if err != nil {
					t.Errorf("writer %d, version %d: %v", w, v+1, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(stop)
	killer.Wait()
	require.NotZero(t, killed.Load(), "nothing was killed")
	for w := range writers {
		require.Len(t, load(t, j, todo(fmt.Sprint(w))), each)
		version := d.number("SELECT _sourced_version FROM @todos WHERE id = $1", fmt.Sprint(w))
		require.Equal(t, int64(each/3), version, "writes of a row")
	}
	require.Equal(t, int64(writers*each), d.number("SELECT count(*) FROM @outbox"))
	require.Equal(t, int64(writers*each), d.number("SELECT count(*) FROM @receipts"))
}

// proxy stands between a journal and the server.
type proxy struct {
	testing.TB
	target string
	listen net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	muted  atomic.Bool // the server's answers do not come through
	all    sync.WaitGroup
}

// through starts a proxy and returns the url that goes through it.
func (d *database) through() (*proxy, string) {
	u, err := url.Parse(d.url)
	require.NoError(d, err)
	p := &proxy{TB: d, target: u.Host, conns: map[net.Conn]struct{}{}}
	p.up("127.0.0.1:0")
	u.Host = p.listen.Addr().String()
	d.Cleanup(p.down)
	return p, u.String()
}

func (p *proxy) up(address string) {
	var err error
	p.listen, err = net.Listen("tcp", address)
	require.NoError(p, err)
	p.all.Go(func() {
		for {
			client, err := p.listen.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns[client], p.conns[server] = struct{}{}, struct{}{}
			p.mu.Unlock()
			p.all.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
			p.all.Go(func() {
				buf := make([]byte, 1<<16)
				for {
					n, err := server.Read(buf)
					if err == nil && !p.muted.Load() {
						_, err = client.Write(buf[:n])
					}
					if err != nil {
						_ = client.Close()
						return
					}
				}
			})
		}
	})
}

// cut ends every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// down also refuses new ones.
func (p *proxy) down() {
	_ = p.listen.Close()
	p.cut()
	p.all.Wait()
}

func TestLostAnswerIsAnUnknownOutcomeAndIsSettled(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	d.todos()
	p, through := d.through()
	d.url = through
	j := d.open(nil)
	s, other := todo("1"), todo("2")
	commit(t, j, batch(events(s, 0, 1), events(other, 0, 1)))                     // every lane's connection is there
	commit(t, j, receipt(message(batch(events(s, 1, 1)), "before"), s, "before")) // and its statement is prepared
	for i, b := range []*journal.Batch{
		receipt(message(batch(events(s, 2, 1)), "plain"), s, "plain"),
		batch(events(s, 3, 1), events(other, 1, 1)),
		{ID: journal.NewBatchID(), Rows: []envelope.Row{row("1", "once")}},
		message(batch(), "alone"),
	} {
		p.muted.Store(true)
		answer := submit(j, b)
		if i == 0 { // it is stored, and nobody says so
			require.Eventually(t, func() bool {
				return d.number("SELECT version FROM @heads WHERE id = '1'") == 3
			}, 10*time.Second, 10*time.Millisecond)
		}
		p.cut()
		p.muted.Store(false)
		if err := (<-answer).err; err != nil { // a transaction of two round trips is lost before its commit
			require.True(t, errors.Is(err, journal.ErrUnknownOutcome) || errors.Is(err, journal.ErrUnavailable), "%v", err)
			if i == 0 {
				require.ErrorIs(t, err, journal.ErrUnknownOutcome)
			}
			b.Resubmit = true
			require.NoError(t, settled(j, b), "batch %d", i)
		}
		b.Resubmit = true
		require.NoError(t, settled(j, b), "batch %d, again", i)
	}
	require.Len(t, load(t, j, s), 4)
	require.Len(t, load(t, j, other), 2)
	require.Equal(t, int64(1), d.number("SELECT _sourced_version FROM @todos"))
	require.Equal(t, int64(3), d.number("SELECT count(*) FROM @outbox"))
}

func TestFrozenServerIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	p, through := d.through()
	d.url = through
	opts := d.options()
	opts.StatementTimeout = 100 * time.Millisecond
	opts.ConnectTimeout = time.Second
	j := d.open(opts)
	b := batch(events(todo("1"), 0, 1))
	commit(t, j, b)
	p.muted.Store(true)
	began := time.Now()
	_, err := journal.Commit(t.Context(), j, batch(events(todo("1"), 1, 1)))
	require.ErrorIs(t, err, journal.ErrUnknownOutcome)
	_, err = journal.Commit(t.Context(), j, batch(events(todo("1"), 2, 1)))
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.Less(t, time.Since(began), 15*time.Second)
	p.muted.Store(false)
	p.cut()
	require.NoError(t, settled(j, batch(events(todo("2"), 0, 1))))
}

func TestServesAgainWhenTheServerIsBack(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.open(nil).Close()
	p, through := d.through()
	d.url = through
	j := d.open(nil)
	commit(t, j, batch(events(todo("1"), 0, 1)))
	p.down()
	time.Sleep(600 * time.Millisecond)
	for range 3 {
		_, err := journal.Commit(t.Context(), j, batch(events(todo("1"), 1, 1)))
		require.ErrorIs(t, err, journal.ErrUnavailable)
		_, err = j.LoadLatest(t.Context(), todo("1"))
		require.ErrorIs(t, err, journal.ErrUnavailable)
	}
	p.up(p.listen.Addr().String())
	back := time.Now()
	require.NoError(t, settled(j, batch(events(todo("1"), 1, 1))))
	require.Len(t, load(t, j, todo("1")), 2)
	require.Less(t, time.Since(back), 2*time.Second)
}

func TestHeldStreamFailsAlone(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	opts := d.options()
	opts.LockTimeout = 50 * time.Millisecond
	j := d.open(opts)
	commit(t, j, batch(events(todo("1"), 0, 1)))
	release := d.hold(t, batch(events(todo("1"), 1, 1)))
	b := batch(events(todo("1"), 1, 1))
	_, err := journal.Commit(t.Context(), j, b)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.Len(t, load(t, j, todo("1")), 1)
	// Whoever shares a group with it is stored.
	answers := []<-chan outcome{submit(j, batch(events(todo("1"), 1, 1)))}
	for i := range 50 {
		answers = append(answers, submit(j, batch(events(todo(fmt.Sprint("other", i)), 0, 1))))
	}
	answers = append(answers, submit(j, batch(events(todo("1"), 2, 1))))
	for i, answer := range answers {
		switch err := (<-answer).err; i {
		case 0:
			require.ErrorIs(t, err, journal.ErrUnavailable)
		case len(answers) - 1: // it was built on that one
			require.Error(t, err)
		default:
			require.NoError(t, err)
		}
	}
	release(false)
	commit(t, j, b)
	require.Len(t, load(t, j, todo("1")), 2)
}
