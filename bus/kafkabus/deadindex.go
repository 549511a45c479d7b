package kafkabus

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bus"
)

// deadPlace is where a dead letter is.
type deadPlace struct {
	partition int32
	offset    int64
}

// deadIndex knows which dead letters there are, without their payloads: it has
// read their topic from the beginning, and goes on from there whenever it is
// asked.
type deadIndex struct {
	busy chan struct{} // has room for one: who reads
	once sync.Once

	client *kgo.Client
	next   map[int32]int64 // by partition: behind the last record that was read
	live   map[string]deadEntry
	closed bool
}

type deadEntry struct {
	letter bus.DeadLetter // without payload
	place  deadPlace
}

// find returns the places of letters that are there now, oldest first. It takes as
// long as there is something to read: only each answer is bounded in time, so an
// index that begins with many letters gets to their end.
func (x *deadIndex) find(ctx context.Context, t *transport, doing string, match func(*bus.DeadLetter) bool) ([]deadPlace, error) {
	if err := t.ask(ctx, doing, x.enter); err != nil { // another one may be reading
		return nil, err
	}
	defer x.leave()
	if err := x.catchUp(ctx, t, doing); err != nil {
		return nil, err
	}
	var places []deadPlace
	for _, e := range x.live {
		if match(&e.letter) {
			places = append(places, e.place)
		}
	}
	slices.SortFunc(places, func(a, b deadPlace) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.partition, b.partition))
	})
	return places, nil
}

func (x *deadIndex) enter(ctx context.Context) error {
	x.once.Do(func() { x.busy = make(chan struct{}, 1) })
	select {
	case x.busy <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if x.closed {
		x.leave()
		return bus.ErrClosed
	}
	return nil
}

func (x *deadIndex) leave() { <-x.busy }

// catchUp reads what has come since the last time. What it had read when ctx ends, or
// an answer does not come, counts the next time.
func (x *deadIndex) catchUp(ctx context.Context, t *transport, doing string) error {
	name := t.names.dead()
	var starts, ends kadm.ListedOffsets
	err := t.ask(ctx, doing, func(ctx context.Context) (err error) {
		if starts, err = t.admin.ListStartOffsets(ctx, name); err == nil {
			ends, err = t.admin.ListCommittedOffsets(ctx, name)
		}
		if err == nil {
			err = errors.Join(starts.Error(), ends.Error())
		}
		return err
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) { // nobody has set anything aside
		x.reset()
		return nil
	}
	if err != nil {
		return err
	}
	behind := func() bool {
		for p, end := range ends[name] {
			if start, _ := starts.Lookup(name, p); end.Offset > start.Offset && x.next[p] < end.Offset {
				return true
			}
		}
		return false
	}
	for p, end := range ends[name] {
		if x.next[p] > end.Offset { // the topic was made anew
			x.reset()
		}
	}
	if x.client == nil {
		if err := x.open(t, ends[name]); err != nil {
			return err
		}
	}
	for behind() {
		var records []*kgo.Record
		if err := t.ask(ctx, doing, func(ctx context.Context) (err error) {
			records, err = pollSome(ctx, x.client)
			return err
		}); err != nil {
			return err
		}
		for _, r := range records {
			x.see(r)
		}
	}
	return nil
}

func (x *deadIndex) open(t *transport, partitions map[int32]kadm.ListedOffset) error {
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[p] = kgo.NewOffset().AtStart()
	}
	client, err := t.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.names.dead(): from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	x.client, x.next, x.live = client, map[int32]int64{}, map[string]deadEntry{}
	return nil
}

// see notes one record: a dead letter, or that it was removed.
func (x *deadIndex) see(r *kgo.Record) {
	x.next[r.Partition] = r.Offset + 1
	switch {
	case r.Attrs.IsControl():
	case r.Value == nil:
		delete(x.live, string(r.Key))
	default:
		l := letter(r)
		l.Message.Data = nil
		x.live[l.ID] = deadEntry{l, deadPlace{r.Partition, r.Offset}}
	}
}

func (x *deadIndex) reset() {
	if x.client != nil {
		x.client.Close()
	}
	x.client, x.next, x.live = nil, nil, nil
}

func (x *deadIndex) close() {
	if x.enter(context.Background()) != nil {
		return
	}
	defer x.leave()
	x.closed = true
	x.reset()
}
