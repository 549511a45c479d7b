package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// topic is one that is known to be there.
type topic struct {
	maxBytes int // of a batch, by its settings; 0 if they cannot be read
}

// known returns what is known of a topic, or nil.
func (t *transport) known(name string) *topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.topics[name]
}

// forget has a topic looked up again: it is gone, perhaps.
func (t *transport) forget(name string) {
	t.mu.Lock()
	delete(t.topics, name)
	t.mu.Unlock()
	t.client.PurgeTopicsFromProducing(name) // one that is made anew has another id
}

// ensure makes the topics that are missing, or that nobody has looked up yet.
//
// Errors: of the first that fails.
func (t *transport) ensure(ctx context.Context, topics ...string) error {
	var missing []string
	for _, name := range topics {
		if t.known(name) == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	failed := t.lookUp(ctx, missing)
	for _, name := range missing {
		if err := failed[name]; err != nil {
			return err
		}
	}
	return nil
}

// lookUp is ensure of topics that are not known, with an error for each that
// failed.
func (t *transport) lookUp(ctx context.Context, topics []string) map[string]error {
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	failed := map[string]error{}
	fail := func(err error, topics ...string) map[string]error {
		for _, name := range topics {
			failed[name] = typed("open topic", fmt.Errorf("%q: %w", name, err))
		}
		return failed
	}
	var there kadm.TopicDetails
	err := t.ask(ctx, "look up topics", func(ctx context.Context) (err error) {
		there, err = t.admin.ListTopicsWithInternal(ctx, topics...)
		return err
	})
	switch {
	case err != nil && unauthorized(err) && len(topics) > 1: // the answer is for all or none
		for _, name := range topics {
			failed[name] = t.lookUp(ctx, []string{name})[name]
		}
		return failed
	case err != nil:
		return fail(err, topics...)
	}
	for _, name := range topics {
		err := there[name].Err
		if !there.Has(name) || errors.Is(err, kerr.UnknownTopicOrPartition) {
			err = t.ask(ctx, "make topic", func(ctx context.Context) error { return t.create(ctx, name) })
		}
		if err != nil {
			fail(err, name)
		}
	}
	limits := t.limits(ctx, topics)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range topics {
		if failed[name] == nil {
			t.topics[name] = &topic{maxBytes: limits[name]}
		}
	}
	return failed
}

// create makes one topic, unless somebody else was faster.
func (t *transport) create(ctx context.Context, name string) error {
	partitions, configs := int32(t.opts.Partitions), map[string]*string(nil)
	if name == t.names.dead() {
		partitions = 1 // they are listed in order
		configs = map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	}
	_, err := t.admin.CreateTopic(ctx, partitions, int16(t.opts.Replication), configs, name)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return err
}

// limits reads the largest batches that topics take. Who may not read them learns
// it from the broker's refusals.
func (t *transport) limits(ctx context.Context, topics []string) map[string]int {
	limits := map[string]int{}
	_ = t.ask(ctx, "read the settings of topics", func(ctx context.Context) error { // see above
		all, err := t.admin.DescribeTopicConfigs(ctx, topics...)
		for _, one := range all {
			for _, c := range one.Configs {
				if c.Key == "max.message.bytes" && one.Err == nil {
					limits[one.Name], _ = strconv.Atoi(c.MaybeValue()) // 0 is unknown
				}
			}
		}
		return err
	})
	return limits
}
