package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// source is a member of a consumer group. Records are taken from the client when
// Receive wants some, and the group cannot change between taking them and noting
// whose they are.
type source struct {
	t      *transport
	kind   envelope.Kind
	prefix string // of topics, before a message's name
	again  string // the topic of dead letters that are sent again
	client *kgo.Client

	arrived    chan struct{}   // has room for one: there is something for Receive
	committing chan struct{}   // has room for one: something was settled
	life       context.Context // ends with Close
	end        context.CancelFunc
	ended      sync.WaitGroup

	commits sync.Mutex // one at a time: none is sent behind the one that gives a partition away

	mu         sync.Mutex
	handedOver sync.Cond // a partition that is given away has no handler at it any more
	partitions map[string]map[int32]*assignment
	polling    bool        // poll is under way
	ready      []*delivery // to be given out
	late       []*delivery // given back, by when they are due
	failed     error       // that the next Receive tells
	closed     bool
}

var _ bus.Source = (*source)(nil)

// maxFetchWait is how long the broker keeps a question for records open: those of
// partitions that came meanwhile are asked for behind it. Kafka's own clients have
// the same.
const maxFetchWait = 500 * time.Millisecond

func newSource(t *transport, kind envelope.Kind, topics []string) (*source, error) {
	s := &source{
		t: t, kind: kind, prefix: t.names.prefix(kind), again: t.names.again(t.opts.Group, kind),
		arrived: make(chan struct{}, 1), committing: make(chan struct{}, 1), partitions: map[string]map[int32]*assignment{},
	}
	s.life, s.end = context.WithCancel(t.life.Context())
	s.handedOver.L = &s.mu
	balancer := kgo.CooperativeStickyBalancer()
	if t.opts.Compat {
		balancer = kgo.RangeBalancer()
	}
	client, err := t.newClient(
		kgo.ConsumerGroup(t.names.consumers(t.opts.Group, kind)), kgo.ConsumeTopics(topics...), kgo.Balancers(balancer),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(maxFetchWait), kgo.FetchMaxPartitionBytes(max(1<<20, int32(t.opts.MaxMessageBytes+reserved))),
		kgo.SessionTimeout(t.opts.SessionTimeout), kgo.HeartbeatInterval(t.opts.heartbeat()),
		kgo.RebalanceTimeout(t.opts.HandOver+30*time.Second), // with time to join again
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(s.assigned), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost),
		kgo.OnOffsetsFetched(s.fetched),
	)
	if err != nil {
		return nil, envelope.Invalid("Client", "…", err.Error())
	}
	s.client = client
	s.ended.Go(s.commitSometimes)
	return s, nil
}

// Order is that of partitions, as long as nothing is given back.
func (s *source) Order() bus.Order { return bus.OrderedWhileHeld }

// Lease is for ever: the client gives signs of life while handlers work.
func (s *source) Lease() time.Duration { return 0 }

func (s *source) Receive(ctx context.Context, limit int) ([]bus.Delivery, error) {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		got, wait, err := s.give(limit)
		if err != nil || len(got) > 0 {
			return got, err
		}
		due.Reset(wait)
		select {
		case <-s.arrived:
		case <-due.C:
		case <-s.life.Done():
			return nil, bus.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// give returns what is here; or has the client asked, and says how long it takes
// at most until there is something else.
func (s *source) give(limit int) (got []bus.Delivery, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, bus.ErrClosed
	}
	wait = s.wakeLate()
	for len(s.ready) > 0 && len(got) < limit {
		d := s.ready[0]
		s.ready = s.ready[1:]
		if !d.from.revoked {
			d.given = true
			got = append(got, d)
		}
	}
	if len(got) > 0 {
		return got, 0, nil
	}
	if err, s.failed = s.failed, nil; err == nil && !s.polling {
		s.polling = true
		s.ended.Go(func() { s.poll(limit) })
	}
	return nil, wait, err
}

// poll asks the client once. It has a goroutine, since the client lets nobody ask
// while partitions are handed over, whatever their context says.
func (s *source) poll(limit int) {
	fetches := s.client.PollRecords(s.life, limit)
	defer s.client.AllowRebalance()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polling = false
	n := len(s.ready)
	fetches.EachRecord(s.receive)
	for _, f := range fetches.Errors() {
		if err := s.trouble(f); err != nil && len(s.ready) == n { // else it comes again
			s.failed = err
		}
	}
	s.nudge()
}

// nudge has Receive look again.
func (s *source) nudge() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// trouble is what Receive makes of an error of the client.
func (s *source) trouble(failed kgo.FetchError) error {
	var loss *kgo.ErrDataLoss
	switch err := failed.Err; {
	case s.life.Err() != nil, errors.Is(err, kgo.ErrClientClosed):
		return bus.ErrClosed
	case errors.As(err, &loss):
		s.t.opts.Logger.Error("kafkabus: the broker has lost messages", "topic", failed.Topic, "partition", failed.Partition, "err", err)
		return nil
	default:
		return typed(fmt.Sprintf("receive as %q", s.t.names.consumers(s.t.opts.Group, s.kind)), err)
	}
}

// receive makes a delivery of a record, unless that was settled before, or is
// another replica's. s.mu is held.
func (s *source) receive(r *kgo.Record) {
	a := s.partitions[r.Topic][r.Partition]
	if a == nil || a.revoked || r.Offset < a.next {
		return
	}
	p := a.receive(r.Offset, r.LeaderEpoch)
	if p == nil {
		s.nudgeCommit()
		return
	}
	d := &delivery{source: s, from: a, place: p, raw: r, attempt: 1, resent: r.Topic == s.again}
	name := strings.TrimPrefix(r.Topic, s.prefix)
	if d.resent {
		name = header(r, bus.HeaderDeadName)
	}
	d.message, d.malformed = decode(r, s.kind, name)
	s.ready = append(s.ready, d)
}

// keep holds d, which was given back, until it is due. s.mu is held.
func (s *source) keep(d *delivery, delay time.Duration) {
	d.due = time.Now().Add(delay)
	i, _ := slices.BinarySearchFunc(s.late, d, func(other, d *delivery) int {
		if other.due.After(d.due) {
			return 1
		}
		return -1 // behind those that are due at the same time
	})
	s.late = slices.Insert(s.late, i, d)
	s.nudge()
}

// forever is how long to wait if nothing was given back.
const forever = time.Hour

// wakeLate puts what is due again before what has just come, and says how long the
// next takes. s.mu is held.
func (s *source) wakeLate() time.Duration {
	n, wait := 0, forever
	for now := time.Now(); n < len(s.late); n++ {
		if wait = s.late[n].due.Sub(now); wait > 0 {
			break
		}
		s.late[n].attempt++
		wait = forever
	}
	s.ready = slices.Insert(s.ready, 0, s.late[:n]...)
	s.late = slices.Delete(s.late, 0, n)
	return wait
}

// assigned begins with partitions.
func (s *source) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range partitions {
		if s.partitions[topic] == nil {
			s.partitions[topic] = map[int32]*assignment{}
		}
		for _, n := range numbers {
			s.partitions[topic][n] = &assignment{topic: topic, partition: n, next: -1}
		}
	}
}

// fetched reads the notes of former owners.
func (s *source) fetched(_ context.Context, _ *kgo.Client, answer *kmsg.OffsetFetchResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	note := func(topic string, partition int32, offset int64, text *string) {
		if a := s.partitions[topic][partition]; a != nil && text != nil && offset >= 0 && a.next < 0 {
			a.before = parseNote(offset, *text)
		}
	}
	for _, topic := range answer.Topics { // before version 8
		for _, p := range topic.Partitions {
			note(topic.Topic, p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, group := range answer.Groups {
		for _, topic := range group.Topics {
			for _, p := range topic.Partitions {
				note(topic.Topic, p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	return nil
}

// take forgets assignments, and returns them. s.mu is held.
func (s *source) take(partitions map[string][]int32) []*assignment {
	var all []*assignment
	for topic, numbers := range partitions {
		for _, n := range numbers {
			if a := s.partitions[topic][n]; a != nil {
				delete(s.partitions[topic], n)
				a.revoked = true
				all = append(all, a)
			}
		}
	}
	return all
}

// revoked gives partitions away: what a handler is at may be finished, nothing
// else is begun. Then the next owner is told how far it got.
func (s *source) revoked(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
	limit := s.t.opts.ConfirmTimeout
	s.mu.Lock()
	all := s.take(partitions)
	over := false
	timer := time.AfterFunc(s.t.opts.HandOver, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.handedOver.Broadcast()
	})
	for !over && !s.closed && slices.ContainsFunc(all, func(a *assignment) bool { return a.begun > 0 }) {
		s.handedOver.Wait()
	}
	timer.Stop()
	for _, a := range all {
		a.gone = true
	}
	if s.closed {
		limit = base.ClosePatience
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := s.commit(ctx, client, func() []*assignment { return all }); err != nil {
		s.t.opts.Logger.Warn("kafkabus: messages that were handled may come again, on another replica", "group", s.t.Group(), "err", err)
	}
}

// lost is told that partitions are another replica's already.
func (s *source) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.take(partitions) {
		a.gone = true
	}
}

// Close commits what was settled and leaves the group: the others get the rest.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.end()
	s.handedOver.Broadcast()
	s.mu.Unlock()
	s.t.life.Forget(s)
	s.ended.Wait() // poll and commitSometimes know
	ctx, cancel := context.WithTimeoutCause(ctx, base.ClosePatience, errNoAnswer)
	defer cancel()
	err := s.commit(ctx, s.client, s.dirty)
	s.client.AllowRebalance()
	if left := s.client.LeaveGroupContext(ctx); err == nil {
		err = left
	}
	s.client.CloseAllowingRebalance()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return typed("give back", err)
}
