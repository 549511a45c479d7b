package aggregatetest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/statediff"
	"github.com/troupe-go/troupe/journal"
)

// Then expects that the command succeeded and recorded exactly these payloads,
// in this order.
func (s *Scenario[A]) Then(events ...any) *Scenario[A] {
	s.t.Helper()
	o := s.judge("Then")
	if !s.succeeded(o) {
		return s
	}
	var got []any
	for i := range o.records {
		payload, err := s.spec.Decode(&o.records[i])
		if err != nil {
			s.t.Errorf("command %q: %v", o.command, err)
			return s
		}
		got = append(got, payload)
	}
	for i := range max(len(got), len(events)) {
		switch {
		case i >= len(got):
			s.t.Errorf("command %q: event %d is missing\nwant %s\ngot  %s", o.command, i+1, list(events), list(got))
			return s
		case i >= len(events):
			s.t.Errorf("command %q: event %d, %q, was not expected\nwant %s\ngot  %s", o.command, i+1, o.records[i].Name, list(events), list(got))
			return s
		}
		want, err := s.throughCodec(events[i])
		if err != nil {
			s.t.Errorf("command %q: expected event %d, %T: %v", o.command, i+1, events[i], err)
			return s
		}
		if diff := statediff.Diff(got[i], want); diff != "" {
			s.t.Errorf("command %q: event %d differs; got and want, %s\nwant %s\ngot  %s", o.command, i+1, diff, list(events), list(got))
			return s
		}
	}
	return s
}

// ThenNothing expects that the command succeeded and recorded no event.
func (s *Scenario[A]) ThenNothing() *Scenario[A] {
	s.t.Helper()
	return s.Then()
}

// ThenReply expects that the command succeeded with that reply, whatever it
// recorded.
func (s *Scenario[A]) ThenReply(want any) *Scenario[A] {
	s.t.Helper()
	o := s.judge("ThenReply")
	if s.succeeded(o) {
		if diff := statediff.Diff(o.reply, want); diff != "" {
			s.t.Errorf("command %q: the reply differs; got and want, %s\nwant %s\ngot  %s", o.command, diff, list([]any{want}), list([]any{o.reply}))
		}
	}
	return s
}

// ThenError expects that the command failed with an error that [errors.Is]
// target: a sentinel like [aggregate.ErrRejected], or the model's own. It
// recorded nothing then.
func (s *Scenario[A]) ThenError(target error) *Scenario[A] {
	s.t.Helper()
	o := s.judge("ThenError")
	switch {
	case o.err == nil:
		s.t.Errorf("command %q succeeded, want the error %q", o.command, target)
	case !errors.Is(o.err, target):
		s.t.Errorf("command %q: got the error %s, want %q", o.command, describe(o.err), target)
	}
	return s
}

// judge returns the last outcome, which somebody now has an opinion on.
func (s *Scenario[A]) judge(what string) *outcome {
	s.t.Helper()
	if s.outcome == nil {
		s.t.Fatalf("%s comes before When: there is no command to judge", what)
	}
	s.outcome.judged = true
	return s.outcome
}

func (s *Scenario[A]) succeeded(o *outcome) bool {
	s.t.Helper()
	if o.err != nil {
		s.t.Errorf("command %q failed: %s", o.command, describe(o.err))
		return false
	}
	return true
}

// describe is the text of err, and of a panic all that is known.
func describe(err error) string {
	var p *aggregate.PanicError
	if errors.As(err, &p) {
		return fmt.Sprintf("%v: %v\n%s", err, p.Value, p.Stack)
	}
	return fmt.Sprintf("%q", err)
}

// throughCodec is payload as it would be read again.
func (s *Scenario[A]) throughCodec(payload any) (any, error) {
	if _, err := s.eventOf(payload); err != nil {
		return nil, err
	}
	data, err := s.spec.Codec().Encode(payload)
	if err != nil {
		return nil, err
	}
	again := reflect.New(reflect.TypeOf(payload))
	if err := s.spec.Codec().Decode(data, again.Interface()); err != nil {
		return nil, err
	}
	return again.Elem().Interface(), nil
}

// list writes payloads with their types and field names.
func list(payloads []any) string {
	if len(payloads) == 0 {
		return "nothing"
	}
	var texts []string
	for _, p := range payloads {
		texts = append(texts, strings.TrimPrefix(fmt.Sprintf("%T%+v", p, p), "*"))
	}
	return strings.Join(texts, ", ")
}

// latest is the history, and what follows it, as a journal gives it.
func (s *Scenario[A]) latest(more []envelope.Record) journal.Latest {
	return journal.Latest{
		Stream: s.stream, Version: uint64(len(s.history) + len(more)),
		Records: func(yield func(envelope.Record, error) bool) {
			for _, records := range [][]envelope.Record{s.history, more} {
				for _, rec := range records {
					if !yield(rec, nil) {
						return
					}
				}
			}
		},
	}
}
