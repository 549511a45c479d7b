package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// deadLetters are the records of the topic of dead letters. The id of one is its
// record's key, which says where the message was; removing it writes a tombstone.
type deadLetters struct {
	t     *transport
	index deadIndex
}

var _ bus.DeadLetters = (*deadLetters)(nil)

// letter reads a dead letter.
func letter(r *kgo.Record) bus.DeadLetter {
	l := bus.DeadLetter{ID: string(r.Key)}
	for _, h := range r.Headers {
		bus.SetDeadHeader(&l, h.Key, string(h.Value))
	}
	kind, err := bus.ParseKind(header(r, bus.HeaderKind))
	if err != nil { // a stranger's
		kind = envelope.KindEvent
	}
	l.Message, _ = decode(r, kind, l.Message.Name) // what is wrong with it is the reason
	return l
}

// each shows visit the dead letters that filter picks, oldest first, until it
// returns false, and of those that were there at the beginning only.
func (d *deadLetters) each(ctx context.Context, doing string, filter bus.DeadLetterFilter, visit func(*kgo.Record, *bus.DeadLetter) (bool, error)) error {
	places, err := d.index.find(ctx, d.t, doing, func(l *bus.DeadLetter) bool { return filter.Matches(l, d.t.Group()) })
	if err != nil {
		return err
	}
	return d.t.read(ctx, doing, places, func(r *kgo.Record) (bool, error) {
		l := letter(r)
		return visit(r, &l)
	})
}

func (d *deadLetters) List(ctx context.Context, filter bus.DeadLetterFilter) iter.Seq2[bus.DeadLetter, error] {
	return func(yield func(bus.DeadLetter, error) bool) {
		err := d.each(ctx, "list dead letters", filter, func(_ *kgo.Record, l *bus.DeadLetter) (bool, error) {
			return yield(*l, nil), nil
		})
		if err != nil {
			yield(bus.DeadLetter{}, err)
		}
	}
}

// one reads the dead letter id.
func (d *deadLetters) one(ctx context.Context, doing, id string) (found *kgo.Record, err error) {
	places, err := d.index.find(ctx, d.t, doing, func(l *bus.DeadLetter) bool { return l.ID == id })
	if err == nil {
		err = d.t.read(ctx, doing, places, func(r *kgo.Record) (bool, error) {
			found = r
			return false, nil
		})
	}
	if err == nil && found == nil {
		err = fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	return found, err
}

func (d *deadLetters) Show(ctx context.Context, id string) (bus.DeadLetter, error) {
	r, err := d.one(ctx, "show a dead letter", id)
	if err != nil {
		return bus.DeadLetter{}, err
	}
	return letter(r), nil
}

func (d *deadLetters) Resend(ctx context.Context, id string) error {
	r, err := d.one(ctx, "send a dead letter again", id)
	if err != nil {
		return err
	}
	l := letter(r)
	return d.resend(ctx, r, &l)
}

func (d *deadLetters) ResendAll(ctx context.Context, filter bus.DeadLetterFilter) (n int, err error) {
	err = d.each(ctx, "send dead letters again", filter, func(r *kgo.Record, l *bus.DeadLetter) (bool, error) {
		err := d.resend(ctx, r, l)
		if err == nil {
			n++
		}
		return true, err
	})
	return n, err
}

func (d *deadLetters) Discard(ctx context.Context, id string) error {
	places, err := d.index.find(ctx, d.t, "discard a dead letter", func(l *bus.DeadLetter) bool { return l.ID == id })
	if err != nil {
		return err
	}
	if len(places) == 0 {
		return fmt.Errorf("%w: %q", bus.ErrNotFound, id)
	}
	return d.remove(ctx, id)
}

// resend publishes a dead letter where only its group reads it.
func (d *deadLetters) resend(ctx context.Context, r *kgo.Record, l *bus.DeadLetter) error {
	group := d.t.names.ownGroup(l.Group)
	if err := checkName("group", group); err != nil { // a stranger's
		return fmt.Errorf("kafkabus: send a dead letter again: %w: %w", bus.ErrRefused, err)
	}
	if err := d.t.publishOne(ctx, again(r, &l.Message, d.t.names.again(group, l.Message.Kind)), l.Message.ID); err != nil {
		return err
	}
	return d.remove(ctx, l.ID)
}

func (d *deadLetters) remove(ctx context.Context, id string) error {
	return d.t.publishOne(ctx, &kgo.Record{Topic: d.t.names.dead(), Key: []byte(id)}, "removal of "+id)
}

// read shows visit the records at places, in their order, until it returns false.
// Those that are gone by now are left out.
func (t *transport) read(ctx context.Context, doing string, places []deadPlace, visit func(*kgo.Record) (bool, error)) error {
	if len(places) == 0 {
		return nil
	}
	from, wanted := map[int32]kgo.Offset{}, map[deadPlace]struct{}{}
	last := map[int32]int64{}
	for _, p := range places {
		if _, known := from[p.partition]; !known {
			from[p.partition] = kgo.NewOffset().At(p.offset)
		}
		wanted[p], last[p.partition] = struct{}{}, p.offset
	}
	client, err := t.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.names.dead(): from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(last) > 0 {
		var got []*kgo.Record
		if err := t.ask(ctx, doing, func(ctx context.Context) (err error) {
			got, err = pollSome(ctx, client)
			return err
		}); err != nil {
			return err
		}
		for _, r := range got {
			if _, ok := wanted[deadPlace{r.Partition, r.Offset}]; ok {
				if more, err := visit(r); err != nil || !more {
					return err
				}
			}
			if end, ok := last[r.Partition]; ok && r.Offset >= end {
				delete(last, r.Partition)
			}
		}
	}
	return nil
}

// pollSome waits for records.
func pollSome(ctx context.Context, client *kgo.Client) ([]*kgo.Record, error) {
	fetches := client.PollFetches(ctx)
	if records := fetches.Records(); len(records) > 0 {
		return records, nil
	}
	var failed []error
	for _, f := range fetches.Errors() {
		failed = append(failed, f.Err)
	}
	return nil, errors.Join(failed...)
}

func (d *deadLetters) close() { d.index.close() }
