package aggregatetest

import (
	"context"
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

// Stored is an event as an older program wrote it, to test upcasters.
type Stored struct {
	Name   string // "initialized"
	Schema uint32 // the layout of Data; zero means 1
	Data   string // the payload, encoded
	Codec  string // of Data; empty means "json"
}

// takeGiven brings what Given added into the history, and proves that it can be
// replayed and is of this aggregate.
func (s *Scenario[A]) takeGiven() error {
	for i, event := range s.given {
		if err := s.take(event); err != nil {
			return fmt.Errorf("given event %d, %T: %w", i+1, event, err)
		}
	}
	s.given = nil
	latest := s.latest(nil)
	a := s.spec.New("")
	if _, err := s.spec.ReplayAll(a, latest.Records); err != nil {
		return fmt.Errorf("given events: %w", err)
	}
	if id := s.spec.ID(a); id != "" && id != s.stream.ID {
		return fmt.Errorf("given events: they are of aggregate %q, but the command is for %q", id, s.stream.ID)
	}
	return nil
}

func (s *Scenario[A]) take(event any) error {
	switch event := event.(type) {
	case func(*A) error:
		return s.takeRecorded(event)
	case Stored:
		rec := envelope.Record{Name: event.Name, Schema: max(event.Schema, 1), Codec: event.Codec, Data: []byte(event.Data)}
		if rec.Codec == "" {
			rec.Codec = envelope.CodecJSON
		}
		return s.remember(rec)
	}
	typ, err := s.eventOf(event)
	if err != nil {
		return err
	}
	data, err := s.spec.Codec().Encode(event)
	if err != nil {
		return err
	}
	return s.remember(envelope.Record{Name: typ.Name, Schema: typ.Schema, Codec: s.spec.Codec().Name(), Data: data})
}

// takeRecorded lets f record.
func (s *Scenario[A]) takeRecorded(f func(*A) error) error {
	a, err := s.start(context.Background())
	if err != nil {
		return err
	}
	if err := f(a); err != nil {
		return err
	}
	for _, rec := range s.spec.Pending(a) {
		if err := s.remember(rec); err != nil {
			return err
		}
	}
	return nil
}

// remember appends rec to the history.
func (s *Scenario[A]) remember(rec envelope.Record) error {
	rec.Stream, rec.Version = s.stream, uint64(len(s.history))+1
	if rec.Time.IsZero() {
		rec.Time = s.now
	}
	if err := rec.Validate(); err != nil {
		return err
	}
	s.history = append(s.history, rec)
	return nil
}

// eventOf finds the kind of event that has payloads of that type.
func (s *Scenario[A]) eventOf(payload any) (aggregate.EventType, error) {
	var found []aggregate.EventType
	for typ := range s.spec.Events() {
		if typ.Payload == reflect.TypeOf(payload) {
			found = append(found, typ)
		}
	}
	switch len(found) {
	case 0:
		return aggregate.EventType{}, fmt.Errorf("aggregate %s has no event with such a payload", s.spec.Type())
	case 1:
		return found[0], nil
	}
	return aggregate.EventType{}, fmt.Errorf("it is the payload of events %q and %q: record it in a func(*A) error", found[0].Name, found[1].Name)
}
