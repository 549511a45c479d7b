package kafkabus

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nudgeCommit has what was settled committed soon.
func (s *source) nudgeCommit() {
	select {
	case s.committing <- struct{}{}:
	default:
	}
}

// commitSometimes commits what was settled, until the source is closed.
func (s *source) commitSometimes() {
	ctx := s.life
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.committing:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.t.opts.CommitInterval):
		}
		limited, cancel := context.WithTimeout(ctx, s.t.opts.ConfirmTimeout)
		if err := s.commit(limited, s.client, s.dirty); err != nil && ctx.Err() == nil {
			s.t.opts.Logger.Warn("kafkabus: what was handled could not be committed yet", "group", s.t.Group(), "err", err)
		}
		cancel()
	}
}

// dirty are the partitions with something to commit.
func (s *source) dirty() []*assignment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*assignment
	for _, topic := range s.partitions {
		for _, a := range topic {
			if a.dirty {
				all = append(all, a)
			}
		}
	}
	return all
}

// commit tells the broker how far the partitions got that which returns. What could
// not be committed stays dirty.
func (s *source) commit(ctx context.Context, client *kgo.Client, which func() []*assignment) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	all := which()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	notes := map[string]map[int32]string{}
	s.mu.Lock()
	for _, a := range all {
		offset, epoch, note, ok := a.commit()
		if !ok || !a.dirty {
			continue
		}
		a.dirty = false
		if offsets[a.topic] == nil {
			offsets[a.topic], notes[a.topic] = map[int32]kgo.EpochOffset{}, map[int32]string{}
		}
		offsets[a.topic][a.partition] = kgo.EpochOffset{Epoch: epoch, Offset: offset}
		notes[a.topic][a.partition] = note
	}
	s.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	ctx = kgo.PreCommitFnContext(ctx, func(r *kmsg.OffsetCommitRequest) error {
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				p := &r.Topics[i].Partitions[j]
				if note := notes[r.Topics[i].Topic][p.Partition]; note != "" {
					p.Metadata = &note
				}
			}
		}
		return nil
	})
	var failed error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = err
				}
			}
		}
	})
	if failed == nil {
		return nil
	}
	s.mu.Lock()
	for _, a := range all {
		a.dirty = true
	}
	s.mu.Unlock()
	s.nudgeCommit()
	return failed
}
