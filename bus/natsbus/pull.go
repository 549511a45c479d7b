package natsbus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/troupe-go/troupe/bus"
)

// pull is what a source has to do with one consumer: requests for messages, and
// an inbox for what comes of them. The source's mu guards it.
//
// With one active replica the broker pins the consumer to one of those who ask,
// and tells it a pin with every message; requests that name the pin keep it. The
// others wait. When the pin passes on, messages of the former owner may be
// unsettled, and come again only later; so the new one does not give out
// anything until it has them all:
//
//	pin passes ──► early: 7 8 (new ones)
//	AckWait over ► early: 7 8 3 5 (of the former owner), nothing else is pending
//	release ─────► buffer: 3 5 7 8
type pull struct {
	source   *source
	consumer string
	prefix   string // of its subjects
	resent   bool

	sub         *nats.Subscription
	inbox       string
	requests    int       // made so far
	outstanding int       // messages that were asked for and did not arrive
	heard       time.Time // when the broker last gave a sign

	pin    string      // ours, with one active replica
	taking bool        // since the pin passed to us: messages go to early
	early  []*delivery // not to be given out yet
}

// heartbeat is how often the broker gives a sign of life for a request that
// waits, and expiry is how long it waits: with one active replica shorter than
// it may be silent.
func (t *transport) heartbeat() time.Duration { return min(5*time.Second, t.expiry()/2) }
func (t *transport) expiry() time.Duration {
	if t.opts.SingleActive {
		return min(30*time.Second, t.opts.AckWait/2)
	}
	return 30 * time.Second
}

func (p *pull) subscribe() error {
	p.inbox = p.source.t.conn.NewInbox()
	sub, err := p.source.t.conn.Subscribe(p.inbox+".*", p.arrived)
	if err != nil {
		return err
	}
	p.sub = sub
	return sub.SetPendingLimits(-1, -1) // it is bounded by what was asked for
}

// fewAgain is how many dead letters that are sent again are asked for at once.
const fewAgain = 16

// due is how many more messages to ask for, when there is room for so many. It
// asks anew before the last has come, but not for each one.
func (p *pull) due(room int) int {
	if p.resent {
		room = min(room, fewAgain)
	}
	if p.source.t.opts.SingleActive && p.pin == "" && p.outstanding > 0 { // one request waits for the pin
		return 0
	}
	if 2*p.outstanding > room {
		return 0
	}
	return room - p.outstanding
}

// request is what the broker takes (nats-server JSApiConsumerGetNextRequest).
type request struct {
	Expires   time.Duration `json:"expires"`
	Batch     int           `json:"batch"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
	Group     string        `json:"group,omitempty"`
	Pin       string        `json:"id,omitempty"`
}

func (p *pull) request(n int) error {
	r := request{Expires: p.source.t.expiry(), Heartbeat: p.source.t.heartbeat(), Batch: n}
	if p.source.t.opts.SingleActive {
		r.Group, r.Pin = pinGroup, p.pin
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	p.requests++
	err = p.source.t.conn.PublishRequest(p.source.nextSubject(p.consumer), p.inbox+"."+strconv.Itoa(p.requests), body)
	if err == nil {
		p.outstanding += n
		p.heard = time.Now()
	}
	return err
}

// Answers to a request that are no messages (nats-server, consumer.go).
const (
	statusHeartbeat    = "100"
	statusNoMessages   = "404"
	statusTimeout      = "408"
	statusConflict     = "409" // the consumer is gone, or moves, or has too many requests
	statusWrongPin     = "423"
	statusNoResponders = "503"
)

// arrived gets everything that the broker sends, on a goroutine of the driver.
func (p *pull) arrived(m *nats.Msg) {
	s := p.source
	var d *delivery
	if meta, err := m.Metadata(); err == nil {
		d = newDelivery(p, m, meta)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.heard = time.Now()
	if d == nil {
		p.status(m)
		s.nudge()
		return
	}
	p.outstanding = max(p.outstanding-1, 0)
	if pin := m.Header.Get("Nats-Pin-Id"); pin != p.pin && s.t.opts.SingleActive {
		p.pin = pin
		p.takeOver()
	}
	if p.stray(d) {
		_ = d.tell(backAfter(time.Duration(min(d.attempt, 30)) * time.Second)) // of a lost connection: it comes again
		return
	}
	if p.taking {
		p.early = append(p.early, d)
		return
	}
	s.buffer = append(s.buffer, d)
	s.nudge()
}

// strayAttempts is how often a message of a name that this replica does not
// handle is given back for another one that does, with 1 to 30 seconds between:
// over some minutes, in which a new version of a service takes the place of the
// old one. Then the run counts it as unhandled.
const strayAttempts = 20

func (p *pull) stray(d *delivery) bool {
	_, ours := slices.BinarySearch(p.source.names, d.message.Name)
	return !ours && !p.resent && d.attempt <= strayAttempts
}

// status is a word of the broker about a request.
func (p *pull) status(m *nats.Msg) {
	s := p.source
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch status {
	case statusHeartbeat:
	case statusNoMessages, statusTimeout:
		left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			left = p.outstanding
		}
		p.outstanding = max(p.outstanding-left, 0)
	case statusWrongPin: // another replica is active now
		p.pin, p.outstanding = "", 0
		s.abandon(p)
	case statusConflict:
		p.outstanding = 0
		s.stale = true
		if !strings.Contains(strings.ToLower(text), "leadership change") && !strings.Contains(strings.ToLower(text), "server shutdown") {
			s.trouble = fmt.Errorf("natsbus: receive: %w: consumer %q: %s", bus.ErrUnavailable, p.consumer, text)
		}
	default: // no responders: the consumer or the stream is gone, or the server begins
		p.outstanding = 0
		s.stale = true
		s.trouble = fmt.Errorf("natsbus: receive: %w: consumer %q answers %s %s", bus.ErrUnavailable, p.consumer, status, text)
	}
}

// end stops the consumer's messages, and waits for those on their way.
func (p *pull) end(ctx context.Context) {
	if !p.source.t.conn.IsConnected() {
		_ = p.sub.Unsubscribe() // of a lost connection
		return
	}
	ended := make(chan struct{})
	p.sub.SetClosedHandler(func(string) { close(ended) })
	if p.sub.Drain() != nil {
		return // it has ended
	}
	select {
	case <-ended:
	case <-ctx.Done():
		_ = p.sub.Unsubscribe() // it takes too long
	}
}

// takeOver begins to collect. The source's mu is held.
func (p *pull) takeOver() {
	if p.taking {
		return
	}
	p.taking = true
	if !p.source.t.life.Start(p.collect) {
		p.taking = false
	}
}

// The new owner asks what is pending, soon at first: a former one that closed
// has given everything back. One that is gone takes a lease.
const (
	minCollectPoll = 20 * time.Millisecond
	maxCollectPoll = 500 * time.Millisecond
)

// collect waits until all messages that anybody was given and did not settle are
// here. Those are as many as the broker says are pending: a message of ours that
// is unsettled is pending, so when the numbers are equal there is no other.
//
// A message that the former owner acknowledged while it was on its way to us is
// here and not pending, and the numbers are never equal. But after two leases
// all that nobody renews have come, so then it is enough that there are not
// more.
func (p *pull) collect() {
	s := p.source
	over := time.Now().Add(2*s.Lease() + time.Second)
	for wait := minCollectPoll; ; wait = min(2*wait, maxCollectPoll) {
		s.mu.Lock()
		if s.closed || !p.taking {
			s.mu.Unlock()
			return
		}
		if p.outstanding < fewAgain { // whatever the reader has room for: the old ones must come
			_ = p.request(256) // of a lost connection: see follow
		}
		ours, settled := p.unsettled(), s.settled
		s.mu.Unlock()
		pending := -1
		_ = s.t.ask(s.t.life.Context(), "ask what is pending", func(ctx context.Context) error { // and again, soon
			c, err := s.t.js.Consumer(ctx, s.t.names.stream(), p.consumer)
			if err == nil {
				pending = c.CachedInfo().NumAckPending
			}
			return err
		})
		s.mu.Lock()
		all := pending == ours && s.settled == settled || time.Now().After(over) && pending >= 0 && pending < ours
		if p.taking && all {
			slices.SortFunc(p.early, bySequence)
			s.buffer = append(s.buffer, p.early...)
			p.early, p.taking = nil, false
			s.nudge()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-s.done:
			return
		case <-s.t.life.Done():
			return
		}
	}
}

// unsettled counts messages of this consumer that are here, each once: after a
// lost lease one may be here twice. The source's mu is held.
func (p *pull) unsettled() int {
	here := map[uint64]struct{}{}
	note := func(d *delivery) {
		if d.pull.consumer == p.consumer {
			here[d.sequence] = struct{}{}
		}
	}
	for d := range p.source.held {
		note(d)
	}
	for _, d := range p.source.buffer {
		note(d)
	}
	for _, d := range p.early {
		note(d)
	}
	return len(here)
}

// abandon gives back what was collected by a pull that lost its pin, or its
// inbox. s.mu is held.
func (s *source) abandon(p *pull) {
	slices.SortFunc(p.early, bySequence)
	for _, d := range p.early {
		_ = d.tell(ackBack) // of a lost connection: it comes again
	}
	p.early, p.taking = nil, false
}

// unpin lets another replica take over at once.
func (s *source) unpin(ctx context.Context, pulls []*pull) error {
	for _, p := range pulls {
		s.mu.Lock()
		pinned := p.pin != ""
		s.mu.Unlock()
		if !pinned {
			continue
		}
		if err := s.t.ask(ctx, "pass on consumer "+p.consumer, func(ctx context.Context) error {
			stream, err := s.t.js.Stream(ctx, s.t.names.stream())
			if err != nil {
				return err
			}
			return stream.UnpinConsumer(ctx, p.consumer, pinGroup)
		}); err != nil {
			return err
		}
	}
	return nil
}
