package natsbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// deadLetters are the messages in the stream of dead letters. The id of one is
// its sequence there.
type deadLetters struct{ t *transport }

var _ bus.DeadLetters = deadLetters{}

// read returns the first dead letter from a sequence on, in a subject.
//
// Errors: [bus.ErrNotFound] if there is none.
func (d deadLetters) read(ctx context.Context, doing string, from uint64, subject string) (*jetstream.RawStreamMsg, error) {
	var found *jetstream.RawStreamMsg
	err := d.t.ask(ctx, doing, func(ctx context.Context) error {
		stream, err := d.t.js.Stream(ctx, d.t.names.deadStream())
		if err != nil {
			return err
		}
		found, err = d.get(ctx, stream, from, subject)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) { // nobody has set anything aside
		err = bus.ErrNotFound
	}
	return found, err
}

func (d deadLetters) get(ctx context.Context, stream jetstream.Stream, from uint64, subject string) (*jetstream.RawStreamMsg, error) {
	var opts []jetstream.GetMsgOpt
	if subject != "" {
		opts = append(opts, jetstream.WithGetMsgSubject(subject))
	}
	found, err := stream.GetMsg(ctx, from, opts...)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = bus.ErrNotFound
	}
	return found, err
}

// letter reads a dead letter.
func (d deadLetters) letter(raw *jetstream.RawStreamMsg) bus.DeadLetter {
	l := bus.DeadLetter{ID: strconv.FormatUint(raw.Sequence, 10)}
	for key, values := range raw.Header {
		if len(values) > 0 {
			bus.SetDeadHeader(&l, key, values[len(values)-1])
		}
	}
	group, kind, name := d.address(raw.Subject)
	if l.Message.Name == "" { // a stranger's
		l.Message.Name = name
	}
	if l.Group == "" {
		l.Group = d.t.names.fullGroup(group)
	}
	header := nats.Header{}
	for key, values := range raw.Header {
		if !bus.SetDeadHeader(&bus.DeadLetter{}, key, "") && !brokersOwn(key) {
			header[key] = values
		}
	}
	l.Message, _ = decode(header, raw.Data, kind, l.Message.Name, raw.Time) // what is wrong with it is the reason
	return l
}

// address takes apart the subject of a dead letter.
func (d deadLetters) address(subject string) (group string, kind envelope.Kind, name string) {
	rest := strings.TrimPrefix(subject, strings.TrimSuffix(d.t.names.allDead(), ">"))
	group, rest, _ = strings.Cut(rest, ".")
	what, name, _ := strings.Cut(rest, ".")
	if what == word(envelope.KindCommand) {
		return group, envelope.KindCommand, name
	}
	return group, envelope.KindEvent, name
}

// each shows visit the dead letters that filter picks, oldest first, until it
// returns false, and of those that were there at the beginning only.
func (d deadLetters) each(ctx context.Context, doing string, filter bus.DeadLetterFilter, visit func(*jetstream.RawStreamMsg, *bus.DeadLetter) (bool, error)) error {
	subject := d.t.names.allDead()
	if !filter.AllGroups {
		subject = d.t.names.dead(d.t.opts.Group) + ">"
	}
	var stream jetstream.Stream
	err := d.t.ask(ctx, doing, func(ctx context.Context) (err error) {
		stream, err = d.t.js.Stream(ctx, d.t.names.deadStream())
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) { // nobody has set anything aside
		return nil
	}
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	for from := uint64(1); from <= last; {
		var raw *jetstream.RawStreamMsg
		err := d.t.ask(ctx, doing, func(ctx context.Context) (err error) {
			raw, err = d.get(ctx, stream, from, subject)
			return err
		})
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if raw.Sequence > last {
			return nil
		}
		from = raw.Sequence + 1
		l := d.letter(raw)
		if !filter.Matches(&l, d.t.Group()) {
			continue
		}
		if more, err := visit(raw, &l); err != nil || !more {
			return err
		}
	}
	return nil
}

func (d deadLetters) List(ctx context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		err := d.each(ctx, "list dead letters", filter, func(_ *jetstream.RawStreamMsg, l *bus.DeadLetter) (bool, error) {
			return yield(*l, nil), nil
		})
		if err != nil {
			yield(bus.DeadLetter{}, err)
		}
	}
}

// one reads the dead letter id.
func (d deadLetters) one(ctx context.Context, doing, id string) (*jetstream.RawStreamMsg, error) {
	sequence, err := strconv.ParseUint(id, 10, 64)
	if err == nil && sequence > 0 && strconv.FormatUint(sequence, 10) == id {
		var raw *jetstream.RawStreamMsg
		if raw, err = d.read(ctx, doing, sequence, ""); err == nil {
			return raw, nil
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %q", bus.ErrNotFound, id)
}

func (d deadLetters) Show(ctx context.Context, id string) (bus.DeadLetter, error) {
	raw, err := d.one(ctx, "show a dead letter", id)
	if err != nil {
		return bus.DeadLetter{}, err
	}
	return d.letter(raw), nil
}

func (d deadLetters) Resend(ctx context.Context, id string) error {
	raw, err := d.one(ctx, "send a dead letter again", id)
	if err != nil {
		return err
	}
	return d.resend(ctx, raw)
}

func (d deadLetters) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (n int, err error) {
	err = d.each(ctx, "send dead letters again", filter, func(raw *jetstream.RawStreamMsg, _ *bus.DeadLetter) (bool, error) {
		err := d.resend(ctx, raw)
		if errors.Is(err, bus.ErrNotFound) { // somebody else was faster
			return true, nil
		}
		if err == nil {
			n++
		}
		return true, err
	})
	return n, err
}

func (d deadLetters) Discard(ctx context.Context, id string) error {
	raw, err := d.one(ctx, "discard a dead letter", id)
	if err != nil {
		return err
	}
	return d.remove(ctx, raw)
}

// resend publishes a dead letter where only its group reads it. Its id to the
// broker is that of the dead letter: when two send it again, one of both is
// dropped.
func (d deadLetters) resend(ctx context.Context, raw *jetstream.RawStreamMsg) error {
	l := d.letter(raw)
	to := d.t.names.again(d.t.names.ownGroup(l.Group), l.Message.Kind) + l.Message.Name
	if err := checkTokens("subject", to); err != nil { // a stranger's
		return fmt.Errorf("natsbus: send a dead letter again: %w: %w", bus.ErrRefused, err)
	}
	id := strings.Join([]string{d.t.names.deadStream(), l.ID, strconv.FormatInt(raw.Time.UnixNano(), 10)}, ".")
	msg := &nats.Msg{
		Subject: to,
		Header:  again(raw.Header, &l.Message, id),
		Data:    raw.Data,
	}
	if err := d.t.publishOne(ctx, msg, l.Message.ID); err != nil {
		return err
	}
	return d.remove(ctx, raw)
}

func (d deadLetters) remove(ctx context.Context, raw *jetstream.RawStreamMsg) error {
	return d.t.ask(ctx, "remove a dead letter", func(ctx context.Context) error {
		stream, err := d.t.js.Stream(ctx, d.t.names.deadStream())
		if err != nil {
			return err
		}
		if err := stream.DeleteMsg(ctx, raw.Sequence); err != nil {
			if _, gone := d.get(ctx, stream, raw.Sequence, ""); errors.Is(gone, bus.ErrNotFound) { // the client does not say so
				return fmt.Errorf("%w: %d", bus.ErrNotFound, raw.Sequence)
			}
			return err
		}
		return nil
	})
}
