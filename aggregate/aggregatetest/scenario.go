package aggregatetest

import (
	"testing"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

// Now is the time of each decision unless [Scenario.At] sets another.
var Now = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)

// Scenario is one test: a history, commands, and what is expected of them.
// Start one with [For]. It belongs to one goroutine.
type Scenario[A any] struct {
	t    testing.TB
	spec *aggregate.Spec[A]
	now  time.Time

	given   []any             // events, functions, stored records still to be taken into history
	history []envelope.Record // of the stream that the first command named
	stream  envelope.Stream   // zero before the first When
	outcome *outcome          // of the last When; nil before
}

// For starts a scenario of the aggregates that spec describes.
func For[A any](t testing.TB, spec *aggregate.Spec[A]) *Scenario[A] {
	t.Helper()
	s := &Scenario[A]{t: t, spec: spec, now: Now}
	t.Cleanup(func() {
		t.Helper()
		s.expectSomething()
	})
	return s
}

// At sets the time of the decisions that follow.
func (s *Scenario[A]) At(now time.Time) *Scenario[A] {
	s.now = now
	return s
}

// Given adds to the history of the aggregate, before the next command. Each of
// events is
//
//   - a payload, TodoInitialized{…}: it happened, no guard is asked;
//   - a [Stored], an event as an older program wrote it;
//   - a func(*A) error that records events through the aggregate's own
//     methods; guards are asked, and an error fails the test.
func (s *Scenario[A]) Given(events ...any) *Scenario[A] {
	s.given = append(s.given, events...)
	return s
}

// expectSomething fails the test when the last command was sent and nobody
// said what should come of it.
func (s *Scenario[A]) expectSomething() {
	s.t.Helper()
	if o := s.outcome; o != nil && !o.judged {
		o.judged = true
		s.t.Errorf("nothing is expected of command %q: add Then, ThenNothing, ThenReply, ThenMessages or ThenError", o.command)
	}
}
