package bustest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

func commandsCompete(w *world) {
	a, b := w.connect("workers"), w.connect("workers")
	w.listening(a, "work.do")
	var seenA, seenB seen
	runA := w.run(a, bus.NewHandlers().OnCommand("work.do", seenA.handle), bus.Idempotent())
	runB := w.run(b, bus.NewHandlers().OnCommand("work.do", seenB.handle), bus.Idempotent())
	var sent []envelope.Message
	for n := range 100 {
		sent = append(sent, w.command("work.do", fmt.Sprint("key-", n), n))
	}
	w.publish(a, sent...)
	w.until("all commands are handled", func() bool { return seenA.len()+seenB.len() >= len(sent) }, runA, runB)
	runA.stop()
	runB.stop()
	require.Equal(w, idsOf(sent), idsOf(append(seenA.all(), seenB.all()...)), "each command once, by one of them")
}

func eventsFanOut(w *world) {
	groups := []*bus.Bus{w.connect("one"), w.connect("two"), w.connect("three")}
	got := make([]seen, len(groups))
	var runs []*running
	for i, b := range groups {
		w.subscribed(b, "thing.happened")
		runs = append(runs, w.run(b, bus.NewHandlers().OnEvent("thing.happened", got[i].handle), bus.Idempotent()))
	}
	var sent []envelope.Message
	for n := range 50 {
		sent = append(sent, w.event("thing.happened", fmt.Sprint("key-", n%7), n))
	}
	w.publish(groups[0], sent...)
	for i := range got {
		w.until("each group has all", func() bool { return got[i].len() >= len(sent) }, runs...)
	}
	for i := range got {
		runs[i].stop()
		require.Equal(w, idsOf(sent), idsOf(got[i].all()), "group %d", i)
	}
}

func replicasShareEvents(w *world) {
	a, b := w.connect("group"), w.connect("group")
	w.subscribed(a, "thing.happened")
	var seenA, seenB seen
	runA := w.run(a, bus.NewHandlers().OnEvent("thing.happened", seenA.handle), bus.Idempotent())
	runB := w.run(b, bus.NewHandlers().OnEvent("thing.happened", seenB.handle), bus.Idempotent())
	// A message may come twice while the replicas divide the work among
	// themselves, as some brokers do on arrival; so the count begins behind.
	settle := func(from, to int) []envelope.Message {
		var sent []envelope.Message
		for n := from; n < to; n++ {
			sent = append(sent, w.event("thing.happened", fmt.Sprint("key-", n), n))
		}
		w.publish(a, sent...)
		w.until("all events are handled", func() bool {
			return len(idsOf(sent)) == countIn(sent, append(seenA.ids(), seenB.ids()...))
		}, runA, runB)
		return sent
	}
	settle(0, 20)
	sent := settle(20, 120)
	runA.stop()
	runB.stop()
	var later []envelope.Message
	for _, m := range append(seenA.all(), seenB.all()...) {
		if countIn([]envelope.Message{m}, idsOf(sent)) == 1 {
			later = append(later, m)
		}
	}
	require.Equal(w, idsOf(sent), idsOf(later), "each event once, by one of the replicas")
}

// countIn counts the messages whose id is among ids.
func countIn(messages []envelope.Message, ids []string) (n int) {
	known := map[string]bool{}
	for _, id := range ids {
		known[id] = true
	}
	for i := range messages {
		if known[messages[i].ID] {
			n++
		}
	}
	return n
}

func commandsAndEventsOfOneName(w *world) {
	b := w.connect("both")
	w.subscribed(b, "same.name")
	w.listening(b, "same.name")
	var commands, events seen
	run := w.run(b, bus.NewHandlers().OnCommand("same.name", commands.handle).OnEvent("same.name", events.handle), bus.Idempotent())
	event, command := w.event("same.name", "e", 1), w.command("same.name", "c", 2)
	w.publish(b, event, command)
	w.until("both are handled", func() bool { return commands.len() > 0 && events.len() > 0 }, run)
	run.stop()
	require.Equal(w, []string{command.ID}, idsOf(commands.all()))
	require.Equal(w, []string{event.ID}, idsOf(events.all()))
}

func roundTrip(w *world) {
	b := w.connect("round-trip")
	w.subscribed(b, "order.shipped")
	w.listening(b, "order.ship")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	full := envelope.Message{
		ID: "order-1:order.shipped:7 – ü/:*>", Kind: envelope.KindEvent, Name: "order.shipped", Key: "customer 日本/1",
		ContentType: "application/x-test; charset=utf-8", Codec: "test-1", Data: all,
		Time:   time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC),
		Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
		Metadata: envelope.Metadata{
			CorrelationID: "conversation 1", CausationID: "cause:1", CommandID: "command-1",
			Keys: map[string]string{"tenant": "acme", "Empty": "", "traceparent": "00-1-2-01", "note_1": "größe, 100 % \"quoted\" = ✓"},
		},
	}
	command := full
	command.ID, command.Kind, command.Name, command.Destination = "command-7", envelope.KindCommand, "order.ship", "shipping"
	bare := envelope.Message{ID: "bare", Kind: envelope.KindEvent, Name: "order.shipped", ContentType: "text/plain", Codec: "json", Data: []byte("x")}
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("order.shipped", got.handle).OnCommand("order.ship", got.handle), bus.Idempotent())
	w.publish(b, full, command, bare)
	w.until("all are handled", func() bool { return got.len() >= 3 }, run)
	run.stop()
	for _, m := range got.all() {
		want := map[string]envelope.Message{full.ID: full, command.ID: command, bare.ID: bare}[m.ID]
		m.Time = m.Time.UTC()
		if want.Time.IsZero() {
			m.Time = want.Time // a broker may know a time of its own
		}
		require.Equal(w, want, m)
	}
}

func largeAndEmptyPayloads(w *world) {
	b := w.connect("sizes")
	w.subscribed(b, "blob.stored")
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("blob.stored", got.handle), bus.Idempotent())
	var sent []envelope.Message
	for n, size := range []int{0, 1, 1 << 10, 200 << 10, 800 << 10} {
		m := w.event("blob.stored", fmt.Sprint(n), n)
		m.Data = bytes.Repeat([]byte{byte('a' + n)}, size)
		sent = append(sent, m)
	}
	w.publish(b, sent...)
	w.until("all are handled", func() bool { return len(got.ids()) == len(sent) }, run)
	run.stop()
	for _, m := range got.all() {
		for _, s := range sent {
			if s.ID == m.ID {
				require.True(w, bytes.Equal(s.Data, m.Data), "payload of %d bytes", len(s.Data))
			}
		}
	}
}

func tooLargeIsRefused(w *world) {
	b := w.connect("sizes")
	w.subscribed(b, "blob.stored")
	big := w.event("blob.stored", "big", 0)
	big.Data = bytes.Repeat([]byte("x"), min(w.features.MaxMessageBytes, envelope.MaxDataBytes))
	big.Metadata.Keys = map[string]string{}
	for n := range 3 {
		big.Metadata.Keys[fmt.Sprint("filler-", n)] = strings.Repeat("x", envelope.MaxMetadataValueBytes)
	}
	if big.SizeBytes() <= w.features.MaxMessageBytes {
		return // the broker takes whatever a message may be
	}
	small := w.event("blob.stored", "small", 1)
	errs := bus.PublishErrors(b.PublishBatch(w.ctx(), []envelope.Message{big, small}), 2)
	require.ErrorIs(w, errs[0], bus.ErrRefused)
	require.NoError(w, errs[1], "the other one is published")
}

func invalidIsRefused(w *world) {
	b := w.connect("strict")
	w.subscribed(b, "good.name")
	for field, spoil := range map[string]func(*envelope.Message){
		"blank id":             func(m *envelope.Message) { m.ID = " " },
		"no kind":              func(m *envelope.Message) { m.Kind = 0 },
		"control in name":      func(m *envelope.Message) { m.Name = "bad\r\nname" },
		"header injection":     func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k": "v\r\nx-evil: 1"} },
		"header name":          func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k: v\r\nx-evil": "1"} },
		"reserved header":      func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"X-Sourced-Kind": "command"} },
		"payload over a limit": func(m *envelope.Message) { m.Data = make([]byte, envelope.MaxDataBytes+1) },
	} {
		m := w.event("good.name", "k", 1)
		spoil(&m)
		err := b.PublishBatch(w.ctx(), []envelope.Message{m})
		require.ErrorIs(w, err, bus.ErrInvalid, field)
	}
	require.ErrorIs(w, b.Publish(w.ctx(), "good.name", func() {}), bus.ErrInvalid, "a payload that cannot be encoded")
	for _, handlers := range []*bus.Handlers{
		bus.NewHandlers(),
		bus.NewHandlers().OnEvent("", func(context.Context, *envelope.Message) error { return nil }),
		bus.NewHandlers().OnEvent("twice", func(context.Context, *envelope.Message) error { return nil }).OnEvent("twice", func(context.Context, *envelope.Message) error { return nil }),
		bus.NewHandlers().OnCommand("none", nil),
	} {
		require.ErrorIs(w, b.Run(w.ctx(), handlers, bus.Idempotent()), bus.ErrInvalid)
	}
}

func burst(w *world) {
	b := w.connect("burst")
	w.subscribed(b, "tick.happened")
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("tick.happened", got.handle), bus.Idempotent())
	var sent []envelope.Message
	for n := range w.c.Messages {
		sent = append(sent, w.event("tick.happened", fmt.Sprint("key-", n%50), n))
	}
	w.publish(b, sent...)
	w.until("all are handled", func() bool { return got.len() >= len(sent) }, run)
	run.stop()
	require.Equal(w, idsOf(sent), got.ids())
}

// someRouter says that it handles a name and then does not want it.
type someRouter struct{ seen }

func (r *someRouter) Plan() (bus.Plan, error) {
	return bus.Plan{Events: []string{"known", "unknown"}}, nil
}

func (r *someRouter) Handle(ctx context.Context, m *envelope.Message) error {
	if m.Name == "unknown" {
		return bus.ErrUnhandled
	}
	return r.handle(ctx, m)
}

func unhandledIsAcknowledged(w *world) {
	b := w.connect("picky")
	w.subscribed(b, "known", "unknown")
	router := &someRouter{}
	run := w.run(b, router, bus.Idempotent())
	w.publish(b, w.event("unknown", "k", 1), w.event("known", "k", 2))
	w.until("the known one is handled", func() bool { return router.len() == 1 && run.counters.Count(bus.Unhandled) == 1 }, run)
	run.stop()
	again := w.run(b, router, bus.Idempotent())
	w.publish(b, w.event("known", "k", 3))
	w.until("the next one is handled", func() bool { return router.len() == 2 }, again)
	again.stop()
	require.Zero(w, again.counters.Count(bus.Unhandled), "it does not come again")
}

func metadataIsInherited(w *world) {
	b := w.connect("chain")
	w.subscribed(b, "second.happened")
	w.listening(b, "first.do")
	var got seen
	run := w.run(b, bus.NewHandlers().
		OnCommand("first.do", func(ctx context.Context, _ *envelope.Message) error {
			return b.Publish(ctx, "second.happened", "x")
		}).
		OnEvent("second.happened", got.handle), bus.Idempotent())
	first := w.command("first.do", "k", 1)
	first.Metadata = envelope.Metadata{CorrelationID: "conversation", Keys: map[string]string{"tenant": "acme"}}
	w.publish(b, first)
	w.until("the second is handled", func() bool { return got.len() > 0 }, run)
	run.stop()
	require.Equal(w, envelope.Metadata{CorrelationID: "conversation", CausationID: first.ID, Keys: map[string]string{"tenant": "acme"}}, got.all()[0].Metadata)
}

func eventsWaitForAStoppedGroup(w *world) {
	b := w.connect("sleeper")
	var got seen
	handlers := bus.NewHandlers().OnEvent("thing.happened", got.handle)
	w.subscribed(b, "thing.happened")
	var sent []envelope.Message
	for n := range 20 {
		sent = append(sent, w.event("thing.happened", fmt.Sprint("key-", n), n))
	}
	w.publish(b, sent[:10]...)
	run := w.run(b, handlers, bus.Idempotent())
	w.until("the first half is handled", func() bool { return got.len() >= 10 }, run)
	run.stop()
	w.publish(b, sent[10:]...)
	run = w.run(w.connect("sleeper"), handlers, bus.Idempotent())
	w.until("the second half is handled", func() bool { return got.len() >= 20 }, run)
	run.stop()
	require.Equal(w, idsOf(sent), idsOf(got.all()), "each once")
}

func commandsWaitForAStoppedGroup(w *world) {
	b := w.connect("sleeper")
	var got seen
	handlers := bus.NewHandlers().OnCommand("work.do", got.handle)
	w.listening(b, "work.do")
	var sent []envelope.Message
	for n := range 20 {
		sent = append(sent, w.command("work.do", fmt.Sprint("key-", n), n))
	}
	w.publish(b, sent...)
	run := w.run(b, handlers, bus.Idempotent())
	w.until("all are handled", func() bool { return got.len() >= 20 }, run)
	run.stop()
	require.Equal(w, idsOf(sent), idsOf(got.all()), "each once")
}

func laterGroupGetsEarlierEvents(w *world) {
	early := w.connect("early")
	w.subscribed(early, "thing.happened")
	var sent []envelope.Message
	for n := range 10 {
		sent = append(sent, w.event("thing.happened", "k", n))
	}
	w.publish(early, sent...)
	var got seen
	run := w.run(w.connect("late"), bus.NewHandlers().OnEvent("thing.happened", got.handle), bus.Idempotent())
	w.until("the late group has all", func() bool { return got.len() >= len(sent) }, run)
	run.stop()
	require.Equal(w, idsOf(sent), got.ids())
}

func handlersComeAndGo(w *world) {
	b := w.connect("growing")
	w.subscribed(b, "old.happened")
	var got seen
	run := w.run(b, bus.NewHandlers().OnEvent("old.happened", got.handle), bus.Idempotent())
	w.publish(b, w.event("old.happened", "k", 1))
	w.until("the old one is handled", func() bool { return got.len() == 1 }, run)
	run.stop()

	b = w.connect("growing")
	both := bus.NewHandlers().OnEvent("old.happened", got.handle).OnEvent("new.happened", got.handle)
	w.subscribed(b, "new.happened", "old.happened")
	run = w.run(b, both, bus.Idempotent())
	w.publish(b, w.event("old.happened", "k", 2), w.event("new.happened", "k", 3))
	w.until("both are handled", func() bool { return got.len() == 3 }, run)
	run.stop()

	b = w.connect("growing")
	w.subscribed(b, "new.happened")
	run = w.run(b, bus.NewHandlers().OnEvent("new.happened", got.handle), bus.Idempotent())
	w.publish(b, w.event("old.happened", "k", 4), w.event("new.happened", "k", 5))
	w.until("the new one is handled", func() bool { return got.len() == 4 }, run)
	run.stop()
	require.Equal(w, "new.happened", got.all()[3].Name)
}
