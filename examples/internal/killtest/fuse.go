package killtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// Point is a moment between two steps of a service.
type Point string

// The points.
const (
	BeforeCommit  Point = "before-commit"  // decided, and not submitted
	AfterCommit   Point = "after-commit"   // durable, and nobody knows
	BeforePublish Point = "before-publish" // read from the outbox
	AfterPublish  Point = "after-publish"  // confirmed, and not settled in the outbox
	AfterReceive  Point = "after-receive"  // delivered, and not handled
	BeforeAck     Point = "before-ack"     // handled, and not acknowledged
)

// Points are all of them.
var Points = []Point{BeforeCommit, AfterCommit, BeforePublish, AfterPublish, AfterReceive, BeforeAck}

// Kill says when a process is killed: when it gets to Point for the N-th time,
// from 1. The zero Kill is never.
type Kill struct {
	Point Point
	N     int
}

// String is "before-commit:3", and "" for never.
func (k Kill) String() string {
	if k.N == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", k.Point, k.N)
}

func parseKill(text string) Kill {
	point, n, _ := strings.Cut(text, ":")
	count, _ := strconv.Atoi(n) // "" is never
	return Kill{Point(point), count}
}

// fuse is a Kill at work in one process, or in what stands for one.
type fuse struct {
	kill Kill
	blow func() // may return, in a process that has others' services: then all behind it fails

	reached atomic.Int64
	last    atomic.Int64 // time of the last step, in nanoseconds; 0 before any source was open
	once    sync.Once
	dead    atomic.Bool
}

// at reports whether the process is dead: since now, or before.
func (f *fuse) at(p Point) bool {
	f.last.Store(time.Now().UnixNano())
	if p == f.kill.Point && f.reached.Add(1) == int64(f.kill.N) {
		f.burn()
	}
	return f.dead.Load()
}

func (f *fuse) burn() {
	f.dead.Store(true)
	f.once.Do(f.blow)
}

// watch tells by say when the process has taken no step for so long and has
// nothing to publish, and when that is over.
func (f *fuse) watch(ctx context.Context, j journal.Journal, idle time.Duration, say func(idle bool)) {
	said := false
	for tick := time.NewTicker(idle / 10); ctx.Err() == nil; <-tick.C {
		figures, err := j.Outbox().Figures(ctx)
		if err != nil || figures.Pending > 0 {
			f.at("publishing")
		}
		last := f.last.Load()
		now := last > 0 && time.Since(time.Unix(0, last)) > idle
		if now != said {
			say(now)
			said = now
		}
	}
}

// fusedJournal is a journal of a process that may be dead.
type fusedJournal struct {
	journal.Journal
	world *World
	fuse  *fuse
}

func (j *fusedJournal) Close() error { return j.world.close(j.Journal) }

func (j *fusedJournal) Submit(b *journal.Batch, done func(journal.Result, error)) {
	if j.fuse.at(BeforeCommit) {
		done(journal.Result{}, journal.ErrClosed)
		return
	}
	j.Journal.Submit(b, func(r journal.Result, err error) {
		if err == nil && j.fuse.at(AfterCommit) {
			r, err = journal.Result{}, journal.ErrClosed
		}
		done(r, err)
	})
}

func (j *fusedJournal) Outbox() journal.Outbox { return &fusedOutbox{j.Journal.Outbox(), j.fuse} }

type fusedOutbox struct {
	journal.Outbox
	fuse *fuse
}

func (o *fusedOutbox) Settle(ctx context.Context, token string, s journal.Settlement) error {
	if o.fuse.dead.Load() {
		return journal.ErrClosed
	}
	return o.Outbox.Settle(ctx, token, s)
}

// fusedTransport is the bus of a process that may be dead.
type fusedTransport struct {
	bus.Transport
	fuse *fuse
}

func (t *fusedTransport) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	if t.fuse.at(BeforePublish) {
		return bus.ErrClosed
	}
	err := t.Transport.PublishBatch(ctx, messages)
	if t.fuse.at(AfterPublish) {
		return bus.ErrClosed
	}
	return err
}

func (t *fusedTransport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(t.Transport.Listen(ctx, names))
}

func (t *fusedTransport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(t.Transport.Subscribe(ctx, names))
}

func (t *fusedTransport) source(s bus.Source, err error) (bus.Source, error) {
	if err != nil {
		return nil, err
	}
	t.fuse.at("open")
	return &fusedSource{s, t.fuse}, nil
}

type fusedSource struct {
	bus.Source
	fuse *fuse
}

func (s *fusedSource) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	got, err := s.Source.Receive(ctx, limit)
	if len(got) > 0 && s.fuse.at(AfterReceive) || s.fuse.dead.Load() {
		return nil, bus.ErrClosed
	}
	for i, d := range got {
		fused := fusedDelivery{d, s.fuse}
		got[i] = fused
		if r, ok := d.(bus.Revocable); ok {
			got[i] = fusedRevocable{fused, r}
		}
	}
	return got, err
}

type fusedDelivery struct {
	bus.Delivery
	fuse *fuse
}

func (d fusedDelivery) Ack(ctx context.Context) error {
	if d.fuse.at(BeforeAck) {
		return bus.ErrClosed
	}
	return d.Delivery.Ack(ctx)
}

// fusedRevocable is one of a transport whose deliveries are.
type fusedRevocable struct {
	fusedDelivery
	revocable bus.Revocable
}

func (d fusedRevocable) Begin() bool { return d.revocable.Begin() }
func (d fusedRevocable) End()        { d.revocable.End() }

func (d fusedDelivery) Retry(ctx context.Context, delay time.Duration) error {
	if d.fuse.dead.Load() {
		return bus.ErrClosed
	}
	return d.Delivery.Retry(ctx, delay)
}

func (d fusedDelivery) DeadLetter(ctx context.Context, why bus.Failure) error {
	if d.fuse.dead.Load() {
		return bus.ErrClosed
	}
	return d.Delivery.DeadLetter(ctx, why)
}
