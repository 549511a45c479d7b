package memory

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// outbox is all messages in the order of their positions: the message at
// position p is item p-1.
type outbox struct {
	log  blocks[storedMessage]
	byID map[string]uint64 // numbers in the log
}

type storedMessage struct {
	message envelope.StoredMessage
	batch   journal.BatchID
}

// check refuses a batch with a message id that is taken.
func (o *outbox) check(b *journal.Batch) error {
	for i := range b.Messages {
		if _, taken := o.byID[b.Messages[i].ID]; taken {
			return &journal.MessageExistsError{ID: b.Messages[i].ID}
		}
	}
	return nil
}

// holds reports whether the messages of b came with b itself.
func (o *outbox) holds(b *journal.Batch) bool {
	for i := range b.Messages {
		if number, ok := o.byID[b.Messages[i].ID]; ok {
			return o.log.at(number).batch == b.ID
		}
	}
	return false
}

func (o *outbox) add(b *journal.Batch) {
	if len(b.Messages) > 0 && o.byID == nil {
		o.byID = make(map[string]uint64)
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		stored, number := o.log.add()
		stored.batch = b.ID
		stored.message = envelope.StoredMessage{Message: *m, Position: number + 1, Slot: m.Slot()}
		stored.message.Time = m.Time.Truncate(time.Microsecond)
		o.byID[m.ID] = number
	}
}

// Messages yields at most limit messages behind position after, up to the
// newest at the time when the loop over them begins.
func (j *Journal) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		j.mu.Lock()
		log, closed := j.outbox.log, j.closed
		j.mu.Unlock()
		if closed {
			yield(envelope.StoredMessage{}, journal.ErrClosed)
			return
		}
		last := max(log.end, after)
		if limit > 0 && uint64(limit) < last-after {
			last = after + uint64(limit)
		}
		for n := uint64(0); ; n++ {
			if n%checkEvery == 0 {
				if err := context.Cause(ctx); err != nil {
					yield(envelope.StoredMessage{}, fmt.Errorf("memory: messages behind %d: %w", after, err))
					return
				}
			}
			if after+n >= last || !yield(log.at(after+n).message, nil) {
				return
			}
		}
	}
}
