package ceingress_test

import (
	"fmt"
	"testing"
	"time"

	cebinding "github.com/cloudevents/sdk-go/v2/binding"
	ceevent "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
)

// sdkEvent is m as the SDK has it. The SDK neither encodes nor decodes values in
// headers: what a broker that is made of it received is still encoded.
func sdkEvent(t testing.TB, m envelope.Message, value func(string) string) ceevent.Event {
	t.Helper()
	attributes, err := knativebus.Attributes(&m, "orders")
	require.NoError(t, err)
	e := ceevent.New("1.0")
	for name, text := range attributes {
		switch name {
		case "specversion":
		case "id":
			e.SetID(value(text))
		case "type":
			e.SetType(value(text))
		case "source":
			e.SetSource(value(text))
		case "datacontenttype":
			e.SetDataContentType(text)
		case "time":
			when, err := time.Parse(time.RFC3339Nano, text)
			require.NoError(t, err)
			e.SetTime(when)
		default:
			e.SetExtension(name, value(text))
		}
	}
	if m.ContentType != bus.ContentTypeJSON {
		e.DataBase64 = true
	}
	e.DataEncoded = m.Data
	require.NoError(t, e.Validate())
	return e
}

// TestTheSDKInAllModes: what the SDK sends, in whichever mode, is the message that
// it was made of.
func TestTheSDKInAllModes(t *testing.T) {
	t.Parallel()
	event, command := full(), full()
	command.ID, command.Kind, command.Name = "command-7", envelope.KindCommand, "order.ship"
	command.ContentType, command.Codec, command.Data = "application/json", "json", []byte(`{"n":1.50,"text":"ü"}`)
	null := envelope.Message{ID: "null", Kind: envelope.KindEvent, Name: "order.shipped", ContentType: "application/json", Codec: "json", Data: []byte("null")}
	messages := []envelope.Message{event, command, null}
	for _, mode := range []string{"binary", "structured", "batched"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			svc, got := rawWatching("order.shipped", "order.ship")
			server := serve(t, svc, bus.Idempotent(), everything)
			var events []ceevent.Event
			value := func(text string) string { return text }
			if mode == "binary" {
				value = knativebus.HeaderValue
			}
			for _, m := range messages {
				events = append(events, sdkEvent(t, m, value))
			}
			if mode == "batched" {
				req, err := cehttp.NewHTTPRequestFromEvents(t.Context(), server.URL, events)
				require.NoError(t, err)
				require.Equal(t, 200, do(t, server, req).status)
				require.ElementsMatch(t, messages, got.all())
				return
			}
			for i, e := range events {
				ctx := cebinding.WithForceBinary(t.Context())
				if mode == "structured" {
					ctx = cebinding.WithForceStructured(t.Context())
				}
				req, err := cehttp.NewHTTPRequestFromEvent(ctx, server.URL+"/cloudevent/"+e.Type(), e)
				require.NoError(t, err)
				answer := do(t, server, req)
				require.Equal(t, 200, answer.status, answer.body)
				require.Empty(t, answer.body, "a broker would publish it")
				require.Equal(t, messages[i], got.all()[i])
			}
		})
	}
}

// TestRoundTrip: whatever knativebus publishes arrives as the same message.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	svc, got := rawWatching("order.shipped", "order.ship")
	server := serve(t, svc, bus.Idempotent(), everything)
	b := publisher(t, server.URL)
	text := rapid.StringOf(rapid.RuneFrom([]rune("abcXYZ019 \t\"%\\/:*>ü日🎉é\ufffe\u007e")))
	name := rapid.StringMatching(`[a-z0-9A-Z][a-z0-9A-Z_.|~-]{0,24}`)
	published, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		want := envelope.Message{
			ID:          rapid.StringMatching(`[a-zA-Z0-9%"ü:][a-zA-Z0-9%"ü: ]{0,40}`).Draw(rt, "id"),
			Kind:        rapid.SampledFrom([]envelope.Kind{envelope.KindEvent, envelope.KindCommand}).Draw(rt, "kind"),
			Name:        rapid.SampledFrom([]string{"order.shipped", "order.ship"}).Draw(rt, "name"),
			Destination: "shipping",
			Key:         rapid.SampledFrom([]string{"", "k", "customer 日本/1"}).Draw(rt, "key"),
			ContentType: rapid.SampledFrom([]string{"", "application/json", "text/plain; charset=utf-8"}).Draw(rt, "content type"),
			Codec:       rapid.SampledFrom([]string{"", "json", "proto-1"}).Draw(rt, "codec"),
			Data:        append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(rt, "data")...),
			Metadata: envelope.Metadata{
				CorrelationID: rapid.SampledFrom([]string{"", "c", "c ü"}).Draw(rt, "correlation"),
				CausationID:   rapid.SampledFrom([]string{"", "d", `d"%`}).Draw(rt, "causation"),
				CommandID:     rapid.SampledFrom([]string{"", "e"}).Draw(rt, "command"),
			},
		}
		if rapid.Bool().Draw(rt, "has a source") {
			want.Source = envelope.Stream{Type: "order", ID: name.Draw(rt, "aggregate")}
			want.SourceVersion = rapid.Uint64().Draw(rt, "version")
		}
		if ns := rapid.Int64Range(0, 253402300799).Draw(rt, "seconds"); ns != 0 {
			want.Time = time.Unix(ns, rapid.Int64Range(0, 999999999).Draw(rt, "ns")).UTC()
		}
		for key, value := range rapid.MapOfN(name, text, 0, 12).Draw(rt, "metadata") {
			want.Metadata.Set(key, value)
		}
		if want.Validate() != nil {
			rt.Skip()
		}
		before := len(got.all())
		err := bus.PublishErrors(b.PublishBatch(t.Context(), []envelope.Message{want}), 1)[0]
		if bus.IsPermanent(err) { // no CloudEvent can be it: the publisher says so
			require.Len(rt, got.all(), before)
			refused++
			return
		}
		require.NoError(rt, err)
		all := got.all()
		require.Len(rt, all, before+1)
		require.Equal(rt, want, all[before])
		published++
	})
	require.Greater(t, published, 10*refused)
}

// TestAllMetadataFits: the limits are above what a message may have.
func TestAllMetadataFits(t *testing.T) {
	t.Parallel()
	svc, got := rawWatching("order.shipped")
	server := serve(t, svc, bus.Idempotent(), everything)
	m := full()
	m.Data = make([]byte, envelope.MaxDataBytes)
	m.Metadata = envelope.Metadata{}
	for i := range 3 { // what grows most: each byte is four in a header
		m.Metadata.Set(fmt.Sprint("key_", i), fmt.Sprintf("%04000d", 0))
		m.Metadata.Keys[fmt.Sprint("key_", i)] = string(repeat('"', envelope.MaxMetadataValueBytes))
	}
	require.NoError(t, m.Validate())
	require.NoError(t, publisher(t, server.URL).PublishBatch(t.Context(), []envelope.Message{m}))
	require.Equal(t, []envelope.Message{m}, got.all())
}

func repeat(c byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c
	}
	return b
}

// TestStrangers: events that know nothing of the framework.
func TestStrangers(t *testing.T) {
	t.Parallel()
	svc, got := watching("both")
	svc.Event("only.event", func(c *microsvc.Context) error { got.note(c); return nil }).
		Register(microsvc.Handle("only.command", func(c *microsvc.Context, _ any) (any, error) { got.note(c); return nil, nil }))
	server := serve(t, svc, bus.Idempotent(), nil)
	for _, typ := range []string{"both", "only.event", "only.command"} {
		require.Equal(t, 200, post(t, server, "/", `{}`, ce("1", typ, "Content-Type", "application/json", "Ce-Traceparent", "00", "Ce-X-Hasura-Role", "clerk", "Ce-Correlation_id", "c")...).status, typ)
	}
	all := got.all()
	require.Len(t, all, 3)
	for i, kind := range []envelope.Kind{envelope.KindEvent, envelope.KindEvent, envelope.KindCommand} {
		require.Equal(t, kind, all[i].Kind)
		require.Equal(t, "/test 1", all[i].ID, "ids of strangers are unique within a source only")
		require.Equal(t, envelope.Metadata{CorrelationID: "c", Keys: map[string]string{"x-hasura-role": "clerk"}}, all[i].Metadata)
	}
	long := string(repeat('i', 510))
	require.Equal(t, 200, post(t, server, "/", `{}`, ce(long, "both")...).status)
	require.Equal(t, 200, post(t, server, "/", `{}`, ce(long+"j", "both")...).status)
	all = got.all()
	require.NotEqual(t, all[3].ID, all[4].ID)
	require.LessOrEqual(t, len(all[3].ID), envelope.MaxMessageIDBytes)
	require.Equal(t, 200, post(t, server, "/", `{"specversion":"1.0","id":"2","source":"s","type":"both","n":7,"yes":true,"none":null,"data":"text","datacontenttype":"text/plain"}`, "Content-Type", structuredJSON).status)
	require.Equal(t, "text", string(got.all()[5].Data))
	require.Nil(t, got.all()[5].Metadata.Keys)
}

func TestSessionIsAnAllowList(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allow []string
		want  microsvc.Session
	}{
		{nil, microsvc.Session{"x-hasura-role": "clerk", "correlation_id": "c"}},
		{[]string{}, microsvc.Session{"correlation_id": "c"}},
		{[]string{"Tenant"}, microsvc.Session{"tenant": "acme", "correlation_id": "c"}},
		{[]string{"*"}, microsvc.Session{"x-hasura-role": "clerk", "tenant": "acme", "correlation_id": "c"}},
		{[]string{"x-hasura-admin-secret"}, microsvc.Session{"x-hasura-admin-secret": "s", "correlation_id": "c"}},
	} {
		svc, got := rawWatching("a")
		server := serve(t, svc, bus.Idempotent(), optionsFor(c.allow))
		m := envelope.Message{ID: "1", Kind: envelope.KindCommand, Name: "a", Destination: "shipping", Metadata: envelope.Metadata{
			CorrelationID: "c", CommandID: "of another", Keys: map[string]string{"X-Hasura-Role": "clerk", "tenant": "acme", "x-hasura-admin-secret": "s"},
		}}
		require.NoError(t, publisher(t, server.URL).PublishBatch(t.Context(), []envelope.Message{m}))
		require.Equal(t, []microsvc.Session{c.want}, got.sessions)
		require.Len(t, got.messages[0].Metadata.Keys, len(c.want)-1, "what is not let in does not travel on either")
	}
}
