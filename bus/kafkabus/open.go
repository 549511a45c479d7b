package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/internal/base"
	"github.com/troupe-go/troupe/envelope"
)

// Connect makes a bus on the cluster of brokers, "host:port" of one or of several
// with commas between. Topics are made when something is first published to them
// or reads them. Once connected the bus connects again by itself, for ever.
//
// Errors: [bus.ErrUnavailable], [bus.ErrUnauthorized] for refused credentials or a
// missing permission, and [bus.ErrInvalid] for an option or a malformed address.
func Connect(ctx context.Context, brokers string, opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	seeds, err := checkBrokers(brokers)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := &transport{
		opts: o, names: names{o.Namespace}, seeds: seeds, features: o.features(),
		topics: map[string]*topic{}, life: base.NewLife[*source](ctx),
	}
	t.client, err = t.newClient(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // a call waits for its own messages only, which are sent at once
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessageBytes+reserved)),
	)
	if err != nil {
		return nil, envelope.Invalid("Client", "…", err.Error())
	}
	t.admin = kadm.NewClient(t.client)
	t.dead.t = t
	if err := t.ping(ctx); err != nil {
		_ = t.Close() // there is nothing yet
		return nil, err
	}
	return bus.New(t), nil
}

// ping finds out whether the broker is there and knows us.
func (t *transport) ping(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, t.opts.ConnectTimeout, errNoAnswer)
	defer cancel()
	err := t.client.Ping(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	case limited.Err() != nil && !unauthorized(err):
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return typed("connect", err)
}

// newClient makes a client with what all have in common.
func (t *transport) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	common := []kgo.Opt{
		kgo.SeedBrokers(t.seeds...), kgo.ClientID(t.Group()), kgo.DialTimeout(t.opts.ConnectTimeout),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(50*time.Millisecond<<min(tries, 10), time.Second) }),
		kgo.MetadataMinAge(100 * time.Millisecond), // a topic that was just made is there soon
		kgo.WithLogger(logger{t.opts.Logger}),
	}
	return kgo.NewClient(append(append(common, opts...), t.opts.Client...)...)
}

// logger passes on what the client warns of.
type logger struct{ *slog.Logger }

func (l logger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l logger) Log(level kgo.LogLevel, text string, keyvals ...any) {
	if level == kgo.LogLevelError {
		l.Error("kafkabus: "+text, keyvals...)
		return
	}
	l.Warn("kafkabus: "+text, keyvals...)
}

// transport is one service's end.
type transport struct {
	opts     Options
	names    names
	seeds    []string
	features bus.Features
	client   *kgo.Client // for publishing and questions; a source has its own
	admin    *kadm.Client
	dead     deadLetters

	life *base.Life[*source]

	mu     sync.Mutex
	topics map[string]*topic // that are known to be there
}

var _ bus.Transport = (*transport)(nil)

func (t *transport) Features() bus.Features { return t.features }

func (t *transport) Group() string { return t.names.fullGroup(t.opts.Group) }

func (t *transport) DeadLetters() bus.DeadLetters { return &t.dead }

// Close ends the sources, then the connections.
func (t *transport) Close() error {
	if !t.life.Close() {
		return nil
	}
	t.dead.close()
	t.client.Close()
	return nil
}

func (t *transport) Listen(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(ctx, envelope.KindCommand, names)
}

func (t *transport) Subscribe(ctx context.Context, names []string) (bus.Source, error) {
	return t.source(ctx, envelope.KindEvent, names)
}

// openPoll is how often a source that is opened tries again while the broker is
// away.
const openPoll = 50 * time.Millisecond

func (t *transport) source(ctx context.Context, kind envelope.Kind, names []string) (bus.Source, error) {
	topics := []string{t.names.again(t.opts.Group, kind)}
	for _, name := range names {
		if err := t.names.checkTopic(kind, name); err != nil {
			return nil, err
		}
		topics = append(topics, t.names.topic(kind, name))
	}
	if err := t.prepare(ctx, topics); err != nil {
		return nil, err
	}
	s, err := newSource(t, kind, topics)
	if err != nil {
		return nil, err
	}
	if !t.life.Adopt(s) {
		_ = s.Close(ctx) // it has nothing
		return nil, bus.ErrClosed
	}
	return s, nil
}

// prepare makes topics. A broker that is away for a moment is waited for: a run
// that begins would end with the error.
func (t *transport) prepare(ctx context.Context, topics []string) error {
	over := time.Now().Add(t.opts.ConfirmTimeout)
	for {
		err := t.ensure(ctx, topics...)
		if !errors.Is(err, bus.ErrUnavailable) || time.Now().After(over) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-t.life.Done():
			return bus.ErrClosed
		case <-time.After(openPoll):
		}
	}
}
