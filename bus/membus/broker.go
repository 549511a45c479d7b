package membus

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// BrokerOptions tune a [Broker]. A nil *BrokerOptions means all defaults.
type BrokerOptions struct {
	// MaxQueued bounds the messages that wait in one queue: the commands of a
	// name, or the events of a group. Beyond it publishing is an
	// [bus.ErrUnavailable]. Zero means 1,000,000.
	MaxQueued int

	// MaxRetained is how many events of each name are kept for groups that
	// subscribe later; older ones are let go. Zero means 10,000, and -1 none.
	MaxRetained int
}

// Broker holds the queues that buses of one process share. It is safe for
// concurrent use.
type Broker struct {
	opts BrokerOptions

	mu     sync.Mutex
	spaces map[string]*space
}

// NewBroker makes an empty broker.
func NewBroker(opts *BrokerOptions) *Broker {
	b := &Broker{spaces: map[string]*space{}}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.MaxQueued == 0 {
		b.opts.MaxQueued = 1_000_000
	}
	switch b.opts.MaxRetained {
	case 0:
		b.opts.MaxRetained = 10_000
	case -1:
		b.opts.MaxRetained = 0
	}
	return b
}

func (b *Broker) space(namespace string) *space {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.spaces[namespace]
	if s == nil {
		s = &space{
			opts: b.opts, commands: map[string]*queue{}, events: map[string]*queue{},
			retained: map[string][]*entry{}, letters: map[string]*letter{},
		}
		b.spaces[namespace] = s
	}
	return s
}

// space is all of one namespace, under one lock.
type space struct {
	opts BrokerOptions

	mu       sync.Mutex
	commands map[string]*queue   // by name of the command
	events   map[string]*queue   // by group
	retained map[string][]*entry // by name of the event, oldest first
	sequence uint64
	letters  map[string]*letter
	lastID   uint64
}

// entry is one message in one queue.
type entry struct {
	message  envelope.Message
	sequence uint64 // the order of publishing
	attempts int
	resent   bool
}

// queue holds what one group has yet to handle, in lanes by ordering key.
type queue struct {
	space   *space
	names   map[string]bool // of a group's events
	lanes   map[string]*lane
	ready   []*lane // with something that a source may take
	waiting int
	sources []*source
}

// lane is the messages of one key in a queue, in order. While one source has
// some of them no other gets any. A message without a key has its own lane.
type lane struct {
	queue   *queue
	key     string
	entries []*entry // not on loan
	lent    []*entry // on loan to owner
	owner   *source
	timer   *time.Timer // until the next delivery; nil if nothing waits for time
	isReady bool
}

func newQueue(s *space) *queue {
	return &queue{space: s, names: map[string]bool{}, lanes: map[string]*lane{}}
}

func (s *space) commandQueue(name string) *queue {
	q := s.commands[name]
	if q == nil {
		q = newQueue(s)
		s.commands[name] = q
	}
	return q
}

func (s *space) publish(messages []envelope.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := bus.BatchError{Errors: make([]error, len(messages))}
	stuck := map[string]error{}
	for i := range messages {
		m := &messages[i]
		key := m.OrderingKey()
		err := stuck[key]
		if err == nil || key == "" {
			err = s.publishOne(m)
		}
		if failed.Errors[i] = err; err != nil {
			stuck[key] = err
		}
	}
	return failed.Or()
}

func (s *space) publishOne(m *envelope.Message) error {
	var queues []*queue
	if m.Kind == envelope.KindCommand {
		queues = append(queues, s.commandQueue(m.Name))
	} else {
		for _, q := range s.events {
			if q.names[m.Name] {
				queues = append(queues, q)
			}
		}
	}
	for _, q := range queues {
		if q.waiting >= s.opts.MaxQueued {
			return fmt.Errorf("%w: %d messages wait for the handlers of %q", bus.ErrUnavailable, q.waiting, m.Name)
		}
	}
	message := clone(m)
	s.sequence++
	for _, q := range queues {
		q.push(&entry{message: message, sequence: s.sequence})
	}
	if m.Kind == envelope.KindEvent && s.opts.MaxRetained > 0 {
		kept := append(s.retained[m.Name], &entry{message: message, sequence: s.sequence})
		if len(kept) > s.opts.MaxRetained {
			kept[0] = nil
			kept = kept[1:]
		}
		s.retained[m.Name] = kept
	}
	return nil
}

// clone copies what the caller may change.
func clone(m *envelope.Message) envelope.Message {
	c := *m
	c.Data = slices.Clone(m.Data)
	c.Metadata = m.Metadata.Clone()
	return c
}

func (s *space) listen(names []string, group string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.newSource(group)
	for _, name := range names {
		src.attach(s.commandQueue(name))
	}
	return src
}

func (s *space) subscribe(names []string, group string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.events[group]
	if q == nil {
		q = newQueue(s)
		s.events[group] = q
	}
	var missed []*entry
	for _, name := range names {
		if !q.names[name] {
			q.names[name] = true
			missed = append(missed, s.retained[name]...)
		}
	}
	slices.SortFunc(missed, func(a, b *entry) int { return int(int64(a.sequence - b.sequence)) })
	for _, e := range missed {
		q.push(&entry{message: e.message, sequence: e.sequence})
	}
	src := s.newSource(group)
	src.attach(q)
	return src
}

func (s *space) newSource(group string) *source {
	return &source{space: s, group: group, lanes: map[*lane]struct{}{}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

func (src *source) attach(q *queue) {
	src.queues = append(src.queues, q)
	q.sources = append(q.sources, src)
	src.nudge()
}

func (src *source) nudge() {
	select {
	case src.wake <- struct{}{}:
	default:
	}
}

// push adds a new message behind the others of its key.
func (q *queue) push(e *entry) {
	l := q.lane(e.message.OrderingKey())
	l.entries = append(l.entries, e)
	q.waiting++
	l.nowReady()
}

func (q *queue) lane(key string) *lane {
	l := q.lanes[key]
	if key == "" || l == nil {
		l = &lane{queue: q, key: key}
		if key != "" {
			q.lanes[key] = l
		}
	}
	return l
}

// nowReady offers l to its owner, or to everybody.
func (l *lane) nowReady() {
	if l.timer != nil || len(l.entries) == 0 {
		return
	}
	if !l.isReady {
		l.isReady = true
		l.queue.ready = append(l.queue.ready, l)
	}
	if l.owner != nil {
		l.owner.nudge()
		return
	}
	for _, src := range l.queue.sources {
		src.nudge()
	}
}

// take lends up to limit messages to src.
func (s *space) take(src *source, limit int) []bus.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-src.closed:
		return nil
	default:
	}
	var got []bus.Delivery
	for range src.queues {
		q := src.queues[src.next%len(src.queues)]
		if got = q.take(src, got, limit); len(got) == limit {
			src.nudge() // there may be more
			break
		}
		src.next++
	}
	return got
}

func (q *queue) take(src *source, got []bus.Delivery, limit int) []bus.Delivery {
	left := q.ready[:0]
	for i, l := range q.ready {
		if len(got) == limit {
			left = append(left, q.ready[i:]...)
			break
		}
		if l.owner != nil && l.owner != src {
			left = append(left, l)
			continue
		}
		n := min(limit-len(got), len(l.entries))
		for _, e := range l.entries[:n] {
			e.attempts++
			l.lent = append(l.lent, e)
			got = append(got, &delivery{source: src, lane: l, entry: e, message: clone(&e.message)})
		}
		l.owner = src
		src.lanes[l] = struct{}{}
		l.entries = l.entries[n:]
		q.waiting -= n
		if l.isReady = len(l.entries) > 0; l.isReady {
			left = append(left, l)
		}
	}
	clear(q.ready[len(left):])
	q.ready = left
	return got
}

// settle does something with a message that is on loan.
func (s *space) settle(d *delivery, do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.lane.owner != d.source || !slices.Contains(d.lane.lent, d.entry) {
		return bus.ErrClosed
	}
	do()
	return nil
}

// forget ends the loan of e for good.
func (l *lane) forget(e *entry) {
	l.lent = slices.DeleteFunc(l.lent, func(other *entry) bool { return other == e })
	l.settled()
}

// giveBack ends the loan of e, which takes its old place, and keeps the lane
// back for delay.
func (l *lane) giveBack(e *entry, delay time.Duration) {
	l.lent = slices.DeleteFunc(l.lent, func(other *entry) bool { return other == e })
	l.insert(e)
	if delay > 0 {
		if l.timer != nil {
			l.timer.Stop()
		}
		l.isReady = false
		l.queue.ready = slices.DeleteFunc(l.queue.ready, func(other *lane) bool { return other == l })
		s := l.queue.space
		var timer *time.Timer
		timer = time.AfterFunc(delay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if l.timer != timer { // a later one has taken its place
				return
			}
			l.timer = nil
			l.nowReady()
		})
		l.timer = timer
	}
	l.settled()
}

// insert puts e in its place: what is sent again first, then by the order of
// publishing.
func (l *lane) insert(e *entry) {
	at := slices.IndexFunc(l.entries, func(other *entry) bool {
		return e.resent && !other.resent || e.resent == other.resent && e.sequence < other.sequence
	})
	if at < 0 {
		at = len(l.entries)
	}
	l.entries = slices.Insert(l.entries, at, e)
	l.queue.waiting++
}

// settled goes on behind the end of a loan.
func (l *lane) settled() {
	if len(l.lent) == 0 && l.owner != nil {
		delete(l.owner.lanes, l)
		l.owner = nil
	}
	if len(l.entries) == 0 && l.owner == nil && l.key != "" && l.timer == nil && l.queue.lanes[l.key] == l {
		delete(l.queue.lanes, l.key)
	}
	l.nowReady()
}

// release gives back everything that src has, and forgets it.
func (s *space) release(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-src.closed:
		return
	default:
	}
	close(src.closed)
	for _, q := range src.queues {
		q.sources = slices.DeleteFunc(q.sources, func(other *source) bool { return other == src })
	}
	for l := range maps.Clone(src.lanes) {
		for _, e := range slices.Clone(l.lent) {
			l.giveBack(e, 0)
		}
	}
}
