package natsbus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// Connect makes a bus on the server at url, such as
// "nats://user:password@host:4222", or at one of several with commas between,
// and makes its stream. Once connected the bus connects again by itself, for
// ever.
//
// Errors: [bus.ErrUnavailable], [bus.ErrUnauthorized] for refused credentials or
// a missing permission, [ErrJetStream], [ErrSettings], and [bus.ErrInvalid] for
// an option or a malformed url.
func Connect(ctx context.Context, url string, opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkURL(url); err != nil {
		return nil, err
	}
	timeout := o.ConnectTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end))
	}
	conn, err := nats.Connect(url, append([]nats.Option{
		nats.Name(o.Namespace + "." + o.Group), nats.Timeout(timeout), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(o.ConfirmTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Warn("natsbus: the server reports", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Logger.Warn("natsbus: the connection was lost and is made again", "err", err)
			}
		}),
	}, o.Conn...)...)
	if err != nil {
		return nil, typedDial(err)
	}
	return open(ctx, conn, true, o)
}

// FromConn makes a bus on a connection of yours, which stays open when the bus
// is closed. How it connects again is yours to say; [nats.MaxReconnects] of -1
// lets it try for ever. The bus adds its own handler of errors to that which is
// set.
//
// Errors: as [Connect].
func FromConn(ctx context.Context, conn *nats.Conn, opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if conn == nil || conn.IsClosed() {
		return nil, fmt.Errorf("natsbus: connect: %w: the connection is closed", bus.ErrClosed)
	}
	return open(ctx, conn, false, o)
}

func open(ctx context.Context, conn *nats.Conn, owned bool, o Options) (_ *bus.Bus, err error) {
	t := &transport{
		opts: o, names: names{o.Namespace}, conn: conn, owned: owned, life: base.NewLife[*source](ctx),
		apiPrefix: "$JS.API.", inboxPrefix: "_INBOX.", slots: make(chan struct{}, o.MaxInFlight),
	}
	if conn.Opts.InboxPrefix != "" {
		t.inboxPrefix = conn.Opts.InboxPrefix + "."
	}
	defer func() {
		if err != nil {
			_ = t.Close() // there is nothing yet
		}
	}()
	// More than the slots, so that nothing waits in there.
	limits := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(math.MaxInt), jetstream.WithPublishAsyncTimeout(2 * o.ConfirmTimeout)}
	if o.Domain == "" {
		t.js, err = jetstream.New(conn, limits...)
	} else {
		t.apiPrefix = "$JS." + o.Domain + ".API."
		t.js, err = jetstream.NewWithDomain(conn, o.Domain, limits...)
	}
	if err != nil {
		return nil, envelope.Invalid("Domain", o.Domain, err.Error())
	}
	t.listen()
	t.statuses = conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	t.life.Start(t.follow)
	var config jetstream.StreamConfig
	err = t.ask(ctx, "open stream "+t.names.stream(), func(ctx context.Context) error {
		s, err := t.stream(ctx)
		if err == nil {
			config = s.CachedInfo().Config
		}
		return err
	})
	if noJetStream(err) {
		err = fmt.Errorf("%w: %w: %w", ErrJetStream, bus.ErrInvalid, err)
	}
	if err != nil {
		return nil, err
	}
	t.maxBytes = conn.MaxPayload()
	t.features = o.features(&config, t.maxBytes)
	return bus.New(t), nil
}

// noJetStream reports the answers of a server, or account, without JetStream.
func noJetStream(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) ||
		errors.Is(err, nats.ErrNoResponders)
}

// transport is one service's end.
type transport struct {
	opts     Options
	names    names
	conn     *nats.Conn
	owned    bool // conn is ours to close
	js       jetstream.JetStream
	features bus.Features
	maxBytes int64 // payload and headers that the server takes
	statuses chan nats.Status

	apiPrefix, inboxPrefix string

	notices   notices
	slots     chan struct{} // of messages in flight
	told      sync.Map      // streams whose limits were logged
	deadReady atomic.Bool   // see deadStream

	life *base.Life[*source]
}

var _ bus.Transport = (*transport)(nil)

// follow tells who waits that the connection was lost, and has sources begin
// anew when it was made again: what they had asked for may be forgotten.
func (t *transport) follow() {
	for {
		select {
		case <-t.life.Done():
			return
		case status, ok := <-t.statuses:
			if !ok {
				return
			}
			if status != nats.CONNECTED {
				t.notices.lost()
			}
			if status == nats.RECONNECTING {
				continue
			}
		}
		for _, s := range t.life.Sources() {
			s.begin()
		}
	}
}

func (t *transport) Features() bus.Features { return t.features }

func (t *transport) Group() string { return t.names.fullGroup(t.opts.Group) }

func (t *transport) DeadLetters() bus.DeadLetters { return deadLetters{t} }

// Close ends the sources, then the connection, if it is ours.
func (t *transport) Close() error {
	if t.life.Close() { // what could not be given back comes again after AckWait
		if t.statuses != nil {
			t.conn.RemoveStatusListener(t.statuses)
		}
		if t.js != nil {
			t.js.CleanupPublisher()
		}
	}
	t.life.Wait()
	if t.owned {
		t.conn.Close()
	}
	return nil
}

func (t *transport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(ctx, envelope.KindCommand, names)
}

func (t *transport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(ctx, envelope.KindEvent, names)
}

func (t *transport) source(ctx context.Context, kind envelope.Kind, names []string) (bus.Source, error) {
	for _, name := range names {
		if err := checkTokens(kind.String()+" name", name); err != nil {
			return nil, err
		}
	}
	s := newSource(t, kind, names)
	if err := s.open(ctx); err != nil {
		_ = s.Close(ctx) // it has nothing
		return nil, err
	}
	if !t.life.Adopt(s) {
		_ = s.Close(ctx) // it has nothing
		return nil, bus.ErrClosed
	}
	return s, nil
}
