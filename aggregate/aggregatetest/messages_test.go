package aggregatetest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

var dims = aggregatetest.Now.Add(time.Hour)

var announce = command("announce", func(ctx *aggregate.Context, _ *lamp, c input) error {
	ctx.Publish("lamp.lit", input{ID: c.ID})
	ctx.SendAt(dims, "lamps", "lamp.dim", input{ID: c.ID})
	if c.Text != "" {
		ctx.Publish(c.Text, nil)
	}
	return nil
})

func TestMessages(t *testing.T) {
	t.Parallel()
	aggregatetest.For(t, spec).Given(installed{"1", "hall"}).
		When(announce, input{ID: "1"}).
		ThenMessages(
			aggregatetest.Message{Name: "lamp.lit", Payload: input{ID: "1"}},
			aggregatetest.Message{Name: "lamp.dim", Destination: "lamps", At: dims}).
		ThenNothing().
		When(announce, input{ID: "1", Text: "\n"}).ThenError(aggregate.ErrInvalid).
		When(turnOn, input{ID: "1"}).ThenMessages()
}

// Each wrong expectation fails, and the text names the message.
func TestMessagesBite(t *testing.T) {
	t.Parallel()
	lit := aggregatetest.Message{Name: "lamp.lit"}
	dim := aggregatetest.Message{Name: "lamp.dim", Destination: "lamps", At: dims}
	with := func(m aggregatetest.Message, change func(*aggregatetest.Message)) aggregatetest.Message {
		change(&m)
		return m
	}
	for name, c := range map[string]struct {
		messages []aggregatetest.Message
		want     string
	}{
		"Missing":     {[]aggregatetest.Message{lit, dim, lit}, "message 3 is missing: lamp.lit"},
		"TooMany":     {[]aggregatetest.Message{lit}, "message 2 was not expected: lamp.dim to lamps at 2026-01-01T13:00:00Z"},
		"Order":       {[]aggregatetest.Message{dim, lit}, "message 1 is another one"},
		"Destination": {[]aggregatetest.Message{lit, with(dim, func(m *aggregatetest.Message) { m.Destination = "others" })}, "message 2 is another one"},
		"Kind":        {[]aggregatetest.Message{with(lit, func(m *aggregatetest.Message) { m.Destination = "lamps" }), dim}, "message 1 is another one"},
		"Time":        {[]aggregatetest.Message{lit, with(dim, func(m *aggregatetest.Message) { m.At = dims.Add(1) })}, "message 2 has another time"},
		"Payload":     {[]aggregatetest.Message{with(lit, func(m *aggregatetest.Message) { m.Payload = input{ID: "2"} }), dim}, `carries {"ID":"1","Text":""}, want {"ID":"2","Text":""}`},
		"NoPayload":   {[]aggregatetest.Message{with(lit, func(m *aggregatetest.Message) { m.Payload = func() {} }), dim}, "cannot be compared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(func(t testing.TB) {
				aggregatetest.For(t, spec).Given(installed{"1", "hall"}).When(announce, input{ID: "1"}).ThenMessages(c.messages...)
			})
			require.Len(t, r.texts, 1)
			require.Contains(t, strings.Join(r.texts, "\n"), c.want)
		})
	}
}
