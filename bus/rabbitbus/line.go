package rabbitbus

import (
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/troupe-go/troupe/bus"
)

// parcel is one message on its way to the broker.
type parcel struct {
	exchange, key string
	publishing    amqp.Publishing
	optional      bool // that no queue takes it is no failure

	sent   chan struct{} // closed when it was sent, or could not be
	err    error         // why it could not be; valid behind sent
	line   *line         // that it was sent on, likewise
	answer *amqp.DeferredConfirmation
	left   atomic.Bool // its caller waits no more: it must not be sent

	returned *amqp.Return // guarded by line.mu
}

func newParcel(exchange, key string, p amqp.Publishing) *parcel {
	return &parcel{exchange: exchange, key: key, publishing: p, sent: make(chan struct{})}
}

// line is one channel that publishes with confirmations, any number of
// messages at a time.
//
// The broker says first that no queue took a message ("return"), then confirms
// it. The driver passes both on, in that order, but to different places: the
// return to one goroutine, by a channel without a buffer, and the confirmation
// to whoever waits. So the return has left the driver when the confirmation is
// seen, and a round through that goroutine (flush) makes sure that it is noted.
type line struct {
	ch    *amqp.Channel
	gone  chan struct{} // closed when the channel is
	cause *amqp.Error   // why; valid behind gone

	flushes chan chan struct{}

	mu      sync.Mutex
	waiting map[string][]*parcel // that may be returned, by what a return says of them, in order
}

func newLine(t *transport, conn *amqp.Connection) (*line, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, typed("publish", err)
	}
	l := &line{ch: ch, gone: make(chan struct{}), flushes: make(chan chan struct{}), waiting: map[string][]*parcel{}}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	returns := ch.NotifyReturn(make(chan amqp.Return))
	if !t.life.Start(func() { l.watch(gone, returns) }) {
		_ = ch.Close()
		return nil, bus.ErrClosed
	}
	if err := ch.Confirm(false); err != nil {
		_ = ch.Close()
		return nil, typed("publish", err)
	}
	return l, nil
}

// watch notes returns until the channel is closed.
func (l *line) watch(gone chan *amqp.Error, returns chan amqp.Return) {
	defer close(l.gone)
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				l.cause = <-gone
				return
			}
			l.note(&r)
		case flushed := <-l.flushes:
			close(flushed)
		}
	}
}

// idOf tells messages on one line apart. Two with the same id to the same place
// have the same fate.
func idOf(key, messageID string, headers amqp.Table) string {
	if long, ok := headers[bus.HeaderID].(string); ok && messageID == "" {
		messageID = long
	}
	return key + "\x00" + messageID
}

func (p *parcel) id() string { return idOf(p.key, p.publishing.MessageId, p.publishing.Headers) }

func (l *line) note(r *amqp.Return) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := idOf(r.RoutingKey, r.MessageId, r.Headers)
	for _, p := range l.waiting[id] {
		if p.returned == nil {
			p.returned = r
			return
		}
	}
}

func (l *line) await(p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[p.id()] = append(l.waiting[p.id()], p)
}

// forget ends await, and reports whether p was returned.
func (l *line) forget(p *parcel) *amqp.Return {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := p.id()
	others := l.waiting[id]
	for i, other := range others {
		if other == p {
			others = append(others[:i:i], others[i+1:]...)
			break
		}
	}
	if len(others) == 0 {
		delete(l.waiting, id)
	} else {
		l.waiting[id] = others
	}
	return p.returned
}

// flush returns when all returns that have left the driver are noted.
func (l *line) flush() {
	flushed := make(chan struct{})
	select {
	case l.flushes <- flushed:
		<-flushed
	case <-l.gone:
	}
}

// send writes p.
func (l *line) send(p *parcel) {
	p.line = l
	l.await(p)
	p.answer, p.err = l.ch.PublishWithDeferredConfirm(p.exchange, p.key, true, false, p.publishing)
	if p.err != nil {
		l.forget(p)
		p.err = typed("publish", p.err)
	}
}
