package aggregatetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// Message is what a command publishes or sends.
type Message struct {
	Name        string
	Destination string    // the service that it is sent to; empty for one that is published
	At          time.Time // until when the outbox holds it back; zero if it does not
	Payload     any       // nil: whatever it carries
}

// String is the message for people.
func (m Message) String() string {
	var b strings.Builder
	b.WriteString(m.Name)
	if m.Destination != "" {
		b.WriteString(" to " + m.Destination)
	}
	if !m.At.IsZero() {
		b.WriteString(" at " + m.At.UTC().Format(time.RFC3339Nano))
	}
	if m.Payload != nil {
		fmt.Fprintf(&b, " %+v", m.Payload)
	}
	return b.String()
}

// ThenMessages expects that the command succeeded and left exactly these messages
// in the outbox, in this order, whatever it recorded. Payloads are compared as
// JSON, as which messages carry them.
func (s *Scenario[A]) ThenMessages(messages ...Message) *Scenario[A] {
	s.t.Helper()
	o := s.judge("ThenMessages")
	if !s.succeeded(o) {
		return s
	}
	for i := range max(len(o.messages), len(messages)) {
		switch {
		case i >= len(o.messages):
			s.t.Errorf("command %q: message %d is missing: %s", o.command, i+1, messages[i])
			return s
		case i >= len(messages):
			s.t.Errorf("command %q: message %d was not expected: %s", o.command, i+1, seen(&o.messages[i]))
			return s
		}
		if err := messages[i].is(&o.messages[i]); err != nil {
			s.t.Errorf("command %q: message %d %v\nwant %s\ngot  %s", o.command, i+1, err, messages[i], seen(&o.messages[i]))
			return s
		}
	}
	return s
}

// is reports how got differs.
func (m *Message) is(got *envelope.Message) error {
	kind := envelope.KindEvent
	if m.Destination != "" {
		kind = envelope.KindCommand
	}
	switch {
	case got.Kind != kind || got.Name != m.Name || got.Destination != m.Destination:
		return fmt.Errorf("is another one")
	case !got.NotBefore.Equal(m.At):
		return fmt.Errorf("has another time")
	case m.Payload == nil:
		return nil
	}
	want, err := envelope.JSON.Encode(m.Payload)
	if err != nil {
		return fmt.Errorf("cannot be compared: %w", err)
	}
	if string(want) != string(got.Data) {
		return fmt.Errorf("carries %s, want %s", got.Data, want)
	}
	return nil
}

// seen is a message as it can be expected.
func seen(m *envelope.Message) Message {
	return Message{Name: m.Name, Destination: m.Destination, At: m.NotBefore, Payload: string(m.Data)}
}
