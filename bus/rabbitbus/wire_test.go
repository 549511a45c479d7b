package rabbitbus_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// said is what a client told the broker that a peer has to agree with: what it
// declared and what it published, in order.
type said struct {
	declared  []string
	published []published
}

type published struct {
	exchange, key string
	flags         uint16 // which properties there are
	properties    map[string]string
	headers       map[string]string
	body          string
}

// reader reads AMQP 0-9-1 (section 4.2) without the driver under test.
type reader struct {
	t testing.TB
	*bytes.Buffer
}

func (r reader) short() string { return string(r.Next(int(r.octet()))) }
func (r reader) long() string  { return string(r.Next(int(r.number(4)))) }
func (r reader) octet() byte   { return r.Next(1)[0] }
func (r reader) number(size int) (n uint64) {
	for _, b := range r.Next(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

// table reads a table of long strings and others, of which it notes the size.
func (r reader) table() map[string]string {
	t := reader{r.t, bytes.NewBufferString(r.long())}
	values := map[string]string{}
	for t.Len() > 0 {
		key := t.short()
		switch kind := t.octet(); kind {
		case 'S':
			values[key] = t.long()
		case 't':
			values[key] = fmt.Sprint(t.octet() == 1)
		case 'l':
			values[key] = fmt.Sprint(t.number(8))
		case 'I':
			values[key] = fmt.Sprint(t.number(4))
		case 'F':
			values[key] = fmt.Sprint(t.table())
		default:
			require.Failf(r.t, "field of another type", "%s: %c", key, kind)
		}
	}
	return values
}

// parse reads what a client sent, from the protocol header on.
func parse(t testing.TB, stream []byte) (s said) {
	t.Helper()
	require.True(t, bytes.HasPrefix(stream, []byte("AMQP\x00\x00\x09\x01")))
	r := reader{t, bytes.NewBuffer(stream[8:])}
	current := map[uint64]*published{} // by channel, until its body is whole
	for r.Len() >= 8 {
		kind, channel := r.octet(), r.number(2)
		frame := reader{t, bytes.NewBufferString(r.long())}
		require.Equal(t, byte(0xCE), r.octet(), "the end of a frame")
		switch kind {
		case 1:
			method := frame.number(4)
			switch method {
			case 50<<16 | 10, 40<<16 | 10: // queue.declare, exchange.declare
				frame.number(2)
				what := "queue " + frame.short()
				if method>>16 == 40 {
					what = "exchange" + what[5:] + " " + frame.short()
				}
				what += fmt.Sprintf(" bits=%05b args=%v", frame.octet()&^16, frame.table()) // without no-wait
				s.declared = append(s.declared, what)
			case 50<<16 | 20: // queue.bind
				frame.number(2)
				queue, exchange, key := frame.short(), frame.short(), frame.short()
				s.declared = append(s.declared, fmt.Sprintf("bind %s to %s by %s", queue, exchange, key))
			case 60<<16 | 40: // basic.publish
				frame.number(2)
				current[channel] = &published{exchange: frame.short(), key: frame.short()}
			}
		case 2:
			frame.number(4)
			size := frame.number(8)
			p := current[channel]
			p.flags, p.properties = uint16(frame.number(2)), map[string]string{}
			for bit, name := range []string{"content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration", "message_id", "timestamp"} {
				if p.flags&(1<<(15-bit)) == 0 {
					continue
				}
				switch name {
				case "headers":
					p.headers = frame.table()
				case "delivery_mode", "priority":
					p.properties[name] = fmt.Sprint(frame.octet())
				case "timestamp":
					p.properties[name] = fmt.Sprint(frame.number(8))
				default:
					p.properties[name] = frame.short()
				}
			}
			if size == 0 {
				s.published = append(s.published, *p)
			}
		case 3:
			current[channel].body += frame.String()
			s.published = append(s.published, *current[channel])
		}
	}
	return s
}

// recorded is what a recorder's clients said, once all connections have ended.
func recorded(t testing.TB, r *testenv.Recorder) (all said) {
	t.Helper()
	for _, stream := range r.Streams() {
		s := parse(t, stream)
		all.declared = append(all.declared, s.declared...)
		all.published = append(all.published, s.published...)
	}
	return all
}

// rust is what a program of distributed 1.5.0 sent to RabbitMQ 3.10.8 in
// namespace "app", recorded on the wire: "send" sends a command twice and
// publishes an event; "ensure" subscribes group "rust" to the event.
func rust(t testing.TB, what string) said {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join("testdata", "rust-1.5.0-"+what+".amqp"))
	require.NoError(t, err)
	return parse(t, stream)
}

// TestAsTheRustServiceDoes: in compat mode the same things are declared in the
// same way, and the same messages go to the same places with the same
// properties and headers, but for those that we have more.
func TestAsTheRustServiceDoes(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	credentials, addr, ok := strings.Cut(strings.TrimPrefix(url, "amqp://"), "@")
	require.True(t, ok, "the URL names a user")
	addr, vhost, _ := strings.Cut(addr, "/")
	r := testenv.StartRecorder(t, addr)
	ns := buskit.Namespace()
	b, err := rabbitbus.Connect(t.Context(), "amqp://"+credentials+"@"+r.Addr()+"/"+vhost, rabbitbus.Options{Group: "rust", Namespace: ns, Compat: true, Logger: quiet})
	require.NoError(t, err)
	buskit.Listen(t, b, "order.ship")
	buskit.Subscribe(t, b, "order.shipped")
	want := rust(t, "send")
	var messages []envelope.Message
	for n, p := range want.published {
		m := envelope.Message{
			ID: p.properties["message_id"], Kind: envelope.KindCommand, Name: "order.ship", ContentType: p.properties["content_type"], Data: []byte(p.body),
		}
		if p.exchange != "" {
			m.Kind, m.Name = envelope.KindEvent, p.key
		}
		if m.ID == "" {
			m.ID = "none" // ours always have one
			want.published[n].properties["message_id"] = m.ID
		}
		for key, value := range p.headers {
			require.NoError(t, bus.SetHeader(&m, key, value))
		}
		messages = append(messages, m)
	}
	require.Len(t, messages, 3)
	require.NoError(t, b.PublishBatch(t.Context(), messages))
	require.NoError(t, b.Close())
	got := recorded(t, r)

	rename := strings.NewReplacer(ns+".", "app.")
	var declared []string
	for _, d := range got.declared {
		declared = append(declared, rename.Replace(d))
	}
	require.Subset(t, declared, want.declared)
	require.Subset(t, declared, rust(t, "ensure").declared)
	require.NotEmpty(t, want.declared)
	require.Len(t, got.published, len(want.published))
	for n, p := range got.published {
		require.Equal(t, "2", p.properties["delivery_mode"], "which the Rust service lacks: persistent")
		delete(p.properties, "delivery_mode")
		w := want.published[n]
		require.Equal(t, []string{w.exchange, w.key, w.body}, []string{rename.Replace(p.exchange), rename.Replace(p.key), p.body})
		require.Equal(t, w.properties, p.properties)
		require.Equal(t, w.headers, p.headers)
	}
}
