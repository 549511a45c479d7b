package actor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
)

// witness sends commands while everything goes wrong, keeps what it was told,
// and compares that with what is stored at the end.
//
// A sender with ids repeats a command until it is acknowledged: each has to be
// stored once, in order. A sender without ids never repeats: what was
// acknowledged has to be stored once, what was refused never, and what has an
// unknown outcome at most once.
type witness struct {
	t       *testing.T
	w       *world
	purses  int
	senders []*sender
	stop    chan struct{}
	group   sync.WaitGroup
}

type sender struct {
	number int
	ids    bool

	mu       sync.Mutex
	told     []error // told[i] is the outcome of number i+1
	answered time.Time
}

func (s *sender) purse(purses int) string { return fmt.Sprint("p", s.number%purses) }

// newWitness starts senders, every second one with ids.
func newWitness(t *testing.T, w *world, senders, purses int) *witness {
	t.Helper()
	x := &witness{t: t, w: w, purses: purses, stop: make(chan struct{})}
	for n := range senders {
		s := &sender{number: n, ids: n/purses%2 == 0}
		x.senders = append(x.senders, s)
		x.group.Go(func() { x.send(s) })
	}
	return x
}

func (x *witness) send(s *sender) {
	for seq := 1; ; seq++ {
		err := x.put(s, seq)
		for s.ids && err != nil {
			select {
			case <-x.stop:
				return // nobody knows about the last one
			default:
			}
			err = x.put(s, seq)
		}
		s.mu.Lock()
		s.told = append(s.told, err)
		s.mu.Unlock()
		select {
		case <-x.stop:
			return
		default:
		}
	}
}

func (x *witness) put(s *sender, seq int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var opts []aggregate.AskOption
	if s.ids {
		opts = append(opts, aggregate.WithCommandID(fmt.Sprintf("%d-%d", s.number, seq)))
	}
	_, err := cmdPut.Ask(ctx, x.w.purses, order{ID: s.purse(x.purses), N: 1, Sender: fmt.Sprint(s.number), Seq: seq}, opts...)
	switch {
	case err == nil:
		s.mu.Lock()
		s.answered = time.Now()
		s.mu.Unlock()
	case errors.Is(err, aggregate.ErrUnknownOutcome), errors.Is(err, aggregate.ErrUnavailable), errors.Is(err, aggregate.ErrNotRun):
		if !s.ids { // a refused command costs nothing, and there is no end of them
			select {
			case <-x.stop:
			case <-time.After(time.Millisecond):
			}
		}
	default:
		x.t.Errorf("sender %d: %v", s.number, err)
	}
	return err
}

// answeredSince counts the senders that were answered well since a moment.
func (x *witness) answeredSince(moment time.Time) (n int) {
	for _, s := range x.senders {
		s.mu.Lock()
		if s.answered.After(moment) {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// awaitService waits until a command is answered again, and returns how long
// that took.
func (x *witness) awaitService() time.Duration {
	x.t.Helper()
	began := time.Now()
	require.Eventually(x.t, func() bool { return x.answeredSince(began) > 0 }, time.Minute, time.Millisecond, "no command is answered")
	return time.Since(began)
}

// check ends the senders and proves that they were told the truth.
func (x *witness) check() (acknowledged, refused, unknown int) {
	x.t.Helper()
	close(x.stop)
	x.group.Wait()
	stored := x.stored()
	for _, s := range x.senders {
		last, times := 0, map[int]int{}
		for _, seq := range stored[s.number] {
			times[seq]++
			if seq < last {
				x.t.Errorf("sender %d: command %d is stored behind %d", s.number, seq, last)
			}
			last = seq
		}
		for i, err := range s.told {
			n := times[i+1]
			delete(times, i+1)
			switch {
			case err == nil:
				acknowledged++
				require.Equal(x.t, 1, n, "sender %d, ids %v: command %d was acknowledged", s.number, s.ids, i+1)
			case errors.Is(err, aggregate.ErrUnknownOutcome):
				unknown++
				require.LessOrEqual(x.t, n, 1, "sender %d: command %d", s.number, i+1)
			default:
				refused++
				require.Zero(x.t, n, "sender %d: command %d was refused with %v", s.number, i+1, err)
			}
		}
		delete(times, len(s.told)+1) // of a sender with ids that was stopped
		require.Empty(x.t, times, "sender %d", s.number)
	}
	return acknowledged, refused, unknown
}

// stored returns the numbers of each sender, as stored.
func (x *witness) stored() map[int][]int {
	x.t.Helper()
	all := map[int][]int{}
	for p := range x.purses {
		version := uint64(0)
		for rec, err := range x.w.journal.Load(context.Background(), purses.Stream(fmt.Sprint("p", p)), 0) {
			require.NoError(x.t, err)
			version++
			require.Equal(x.t, version, rec.Version)
			var e struct {
				Sender int `json:"sender,string"`
				Seq    int `json:"seq"`
			}
			require.NoError(x.t, json.Unmarshal(rec.Data, &e))
			all[e.Sender] = append(all[e.Sender], e.Seq)
		}
	}
	return all
}
