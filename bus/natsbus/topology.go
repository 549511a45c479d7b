package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/troupe-go/troupe/envelope"
)

// tries is how often something is looked up and made: somebody else may make, or
// delete, it in between.
const tries = 3

// description of the streams that a bus makes.
const description = "messages of a troupe bus"

// stream returns the stream of the namespace, and makes it first if there is
// none.
func (t *transport) stream(ctx context.Context) (jetstream.Stream, error) {
	return t.ensure(ctx, t.names.stream(), t.names.all(), t.opts.Stream)
}

// dead is stream for the dead letters.
func (t *transport) dead(ctx context.Context) (jetstream.Stream, error) {
	return t.ensure(ctx, t.names.deadStream(), t.names.allDead(), t.opts.Dead)
}

func (t *transport) ensure(ctx context.Context, name, subject string, limits Limits) (jetstream.Stream, error) {
	var err error
	for range tries {
		var s jetstream.Stream
		if s, err = t.js.Stream(ctx, name); err == nil {
			return t.use(ctx, s, subject, limits)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		c := limits.apply(jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Description: description})
		if limits.Memory {
			c.Storage = jetstream.MemoryStorage
		}
		s, err = t.js.CreateStream(ctx, c)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			continue
		}
		if api := reply(err); api != nil && api.ErrorCode == codeSubjectOverlap {
			return nil, &SettingsError{What: "stream", Name: name, Reason: fmt.Sprintf("another stream has subjects of %q: one namespace cannot begin with another one", subject)}
		}
		return nil, err
	}
	return nil, err
}

// use checks a stream that exists, perhaps made by a Rust service or by hand.
// What a bus cannot do with it is an error; other limits than ours are logged,
// or changed if that was asked for.
func (t *transport) use(ctx context.Context, s jetstream.Stream, subject string, limits Limits) (jetstream.Stream, error) {
	c := s.CachedInfo().Config
	unusable := func(reason string) error { return &SettingsError{What: "stream", Name: c.Name, Reason: reason} }
	if !slices.ContainsFunc(c.Subjects, func(has string) bool { return covers(has, subject) }) {
		return nil, unusable(fmt.Sprintf("it is for %q, not for %q", strings.Join(c.Subjects, " "), subject))
	}
	switch {
	case c.NoAck:
		return nil, unusable("it does not confirm messages (no_ack)")
	case c.Sealed:
		return nil, unusable("it is sealed")
	case c.Retention == jetstream.WorkQueuePolicy:
		return nil, unusable("with the retention workqueue a message is for one consumer, and each group has one")
	}
	want := limits.apply(c)
	if c.MaxAge == want.MaxAge && c.MaxBytes == want.MaxBytes && c.MaxMsgs == want.MaxMsgs && c.Replicas == want.Replicas &&
		c.Duplicates == want.Duplicates && c.Discard == want.Discard && c.Retention == jetstream.LimitsPolicy {
		return s, nil
	}
	if t.opts.UpdateStreams {
		return t.js.UpdateStream(ctx, want)
	}
	if _, told := t.told.LoadOrStore(c.Name, true); !told {
		text := "natsbus: the stream has other limits than the options, and is used as it is"
		if c.Discard != jetstream.DiscardNew && (c.MaxBytes > 0 || c.MaxMsgs > 0) {
			text += "; when it is full it drops its oldest messages, handled or not"
		}
		if c.Retention == jetstream.InterestPolicy {
			text += "; what no group has a consumer for is confirmed and dropped"
		}
		t.opts.Logger.Warn(text, "stream", c.Name, "max_age", c.MaxAge, "max_bytes", c.MaxBytes, "max_messages", c.MaxMsgs,
			"replicas", c.Replicas, "dedup_window", c.Duplicates, "discard", c.Discard.String())
	}
	return s, nil
}

// covers reports whether all subjects of pattern, which ends with ">", are in
// has.
func covers(has, pattern string) bool {
	if has == pattern || has == ">" {
		return true
	}
	h, p := strings.Split(has, "."), strings.Split(pattern, ".")
	for i, token := range h {
		switch {
		case token == ">":
			return i < len(p)
		case i >= len(p), p[i] == ">", token != "*" && token != p[i]:
			return false
		}
	}
	return false
}

// pinGroup is the priority group of consumers with one active replica. It does
// not matter what it is called.
const pinGroup = "active"

// consumer makes a durable consumer, or brings it up to date.
func (t *transport) consumer(ctx context.Context, s jetstream.Stream, name string, filters []string) error {
	var err error
	for range tries {
		var c jetstream.Consumer
		c, err = s.Consumer(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			c, err = s.CreateConsumer(ctx, t.consumerConfig(jetstream.ConsumerConfig{Durable: name, Name: name, AckPolicy: jetstream.AckExplicitPolicy}, filters))
		case errors.Is(err, jetstream.ErrNotPullConsumer):
			return &SettingsError{What: "consumer", Name: name, Reason: "it is a push consumer"}
		case err == nil:
			has := c.CachedInfo().Config
			if has.AckPolicy != jetstream.AckExplicitPolicy {
				return &SettingsError{What: "consumer", Name: name, Reason: "messages are not acknowledged one by one (ack_policy explicit)"}
			}
			want := t.consumerConfig(has, filters)
			if sameConsumer(&has, &want) {
				return nil
			}
			c, err = s.UpdateConsumer(ctx, want)
		}
		switch {
		case err == nil && t.opts.SingleActive && c.CachedInfo().Config.PriorityPolicy != jetstream.PriorityPolicyPinned:
			return &SettingsError{What: "consumer", Name: name, Reason: "this server cannot keep one replica active (priority_policy pinned_client): 2.11 can"}
		case err == nil:
			return nil
		case errors.Is(err, jetstream.ErrConsumerMultipleFilterSubjectsNotSupported):
			return &SettingsError{What: "consumer", Name: name, Reason: "this server knows one subject for a consumer: 2.10 knows more"}
		case errors.Is(err, jetstream.ErrConsumerExists), errors.Is(err, jetstream.ErrConsumerDoesNotExist):
			continue // somebody was faster
		}
		if api := reply(err); api != nil && api.Code == 400 || api != nil && api.ErrorCode == jetstream.JSErrCodeConsumerCreate {
			return &SettingsError{What: "consumer", Name: name, Reason: api.Description}
		}
		return err
	}
	return err
}

// consumerConfig is c with what we need.
func (t *transport) consumerConfig(c jetstream.ConsumerConfig, filters []string) jetstream.ConsumerConfig {
	c.FilterSubject, c.FilterSubjects = "", filters
	c.AckWait, c.BackOff = t.opts.AckWait, nil
	c.MaxDeliver, c.MaxAckPending = -1, t.opts.MaxAckPending
	c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL = jetstream.PriorityPolicyNone, nil, 0
	if t.opts.SingleActive {
		c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL = jetstream.PriorityPolicyPinned, []string{pinGroup}, t.opts.AckWait
	}
	return c
}

func sameConsumer(a, b *jetstream.ConsumerConfig) bool {
	filters := func(c *jetstream.ConsumerConfig) []string {
		all := slices.Clone(c.FilterSubjects)
		if c.FilterSubject != "" {
			all = append(all, c.FilterSubject)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(filters(a), filters(b)) && a.AckWait == b.AckWait && a.MaxDeliver == b.MaxDeliver &&
		a.MaxAckPending == b.MaxAckPending && len(a.BackOff) == 0 && a.PriorityPolicy == b.PriorityPolicy &&
		slices.Equal(a.PriorityGroups, b.PriorityGroups) && a.PinnedTTL == b.PinnedTTL
}

// consumers makes both consumers of a kind: of what is published, and of what is
// sent again.
func (t *transport) consumers(ctx context.Context, kind envelope.Kind, messages []string) error {
	s, err := t.stream(ctx)
	if err != nil {
		return err
	}
	filters := make([]string, len(messages))
	for i, name := range messages {
		filters[i] = t.names.subject(kind, name)
	}
	if err := t.consumer(ctx, s, durable(t.opts.Group, kind), filters); err != nil {
		return err
	}
	return t.consumer(ctx, s, durableAgain(t.opts.Group, kind), []string{t.names.again(t.opts.Group, kind) + ">"})
}
