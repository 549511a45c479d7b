package natsbus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// client is one of the test's own, beside the bus.
func client(t testing.TB, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return conn, js
}

// users of a server: what each may publish.
func users(allow map[string][]string) func(*server.Options) {
	return func(o *server.Options) {
		for name, subjects := range allow {
			u := &server.User{Username: name, Password: "secret"}
			if subjects != nil {
				u.Permissions = &server.Permissions{
					Publish: &server.SubjectPermission{Allow: subjects}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				}
			}
			o.Users = append(o.Users, u)
		}
	}
}

// TestConnectErrors: what a wrong address, password or permission is at the
// start, and a server without JetStream.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	s := startServer(t, users(map[string][]string{"admin": nil, "reader": {"$JS.API.STREAM.INFO.>"}, "nobody": {"nothing"}}),
		func(o *server.Options) {
			o.Users = append(o.Users, &server.User{Username: "deaf", Password: "secret", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Deny: []string{">"}},
			}})
		})
	open := func(url string) error {
		b, err := natsbus.Connect(buskit.Ctx(t), url, natsbus.Options{Group: "g", Namespace: "app", Stream: small, Logger: quiet})
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	begin := time.Now()
	require.ErrorIs(t, open(s.urlOf("deaf:secret@")), bus.ErrUnauthorized, "no permission to hear the answer")
	require.ErrorIs(t, open(s.urlOf("reader:secret@")), bus.ErrUnauthorized, "no permission to make the stream")
	require.ErrorIs(t, open(s.urlOf("nobody:secret@")), bus.ErrUnauthorized, "no permission to look for it")
	require.Less(t, time.Since(begin), 5*time.Second, "without waiting for an answer")
	require.NoError(t, open(s.urlOf("admin:secret@")))
	require.NoError(t, open(s.urlOf("reader:secret@")), "it is there now")

	for _, user := range []string{"admin:wrong@", ""} {
		err := open(s.urlOf(user))
		require.ErrorIs(t, err, bus.ErrUnauthorized)
		require.NotContains(t, err.Error(), "wrong", "the password")
	}
	require.ErrorIs(t, open(fmt.Sprintf("nats://127.0.0.1:%d", testenv.FreePort(t))), bus.ErrUnavailable)

	plain := startServer(t, func(o *server.Options) { o.JetStream = false })
	require.ErrorIs(t, open(plain.url()), natsbus.ErrJetStream)
	require.ErrorIs(t, open(plain.url()), bus.ErrInvalid)

	accounts := startServer(t, func(o *server.Options) {
		without := server.NewAccount("WITHOUT")
		o.Accounts = append(o.Accounts, without)
		o.Users = append(o.Users, &server.User{Username: "poor", Password: "secret", Account: without})
	})
	require.ErrorIs(t, open(accounts.urlOf("poor:secret@")), natsbus.ErrJetStream, "the account has none")

	_, err := natsbus.Connect(buskit.Ctx(t), s.url(), natsbus.Options{
		Group: "g", Namespace: "app", Logger: quiet, Conn: []nats.Option{nats.UserCredentials("testdata/no-such-file")},
	})
	require.ErrorIs(t, err, bus.ErrInvalid)

	for _, url := range []string{"http://127.0.0.1", "nats://admin:se cret@127.0.0.1", "nats://admin:secret%zz@127.0.0.1/", "nats://", ""} {
		err := open(url)
		require.ErrorIs(t, err, bus.ErrInvalid, url)
		require.NotContains(t, err.Error(), "cret", "the password")
	}
}

func TestOptionErrors(t *testing.T) {
	t.Parallel()
	for field, o := range map[string]natsbus.Options{
		"no group":                {Namespace: "app"},
		"no namespace":            {Group: "g"},
		"group with a dot":        {Group: "a.b", Namespace: "app"},
		"group with white space":  {Group: "a b", Namespace: "app"},
		"group with a wildcard":   {Group: "a>", Namespace: "app"},
		"namespace with an end":   {Group: "g", Namespace: "app."},
		"namespace of wildcards":  {Group: "g", Namespace: "app.>"},
		"namespace with space":    {Group: "g", Namespace: "my app"},
		"namespace of the broker": {Group: "g", Namespace: "$JS.x"},
		"namespace of the dead":   {Group: "g", Namespace: "dead.app"},
		"replicas":                {Group: "g", Namespace: "app", Stream: natsbus.Limits{Replicas: 6}},
		"negative age":            {Group: "g", Namespace: "app", Dead: natsbus.Limits{MaxAge: -2}},
		"short lease":             {Group: "g", Namespace: "app", AckWait: time.Millisecond},
		"negative in flight":      {Group: "g", Namespace: "app", MaxInFlight: -1},
	} {
		_, err := natsbus.Connect(t.Context(), "nats://127.0.0.1:1", o)
		require.ErrorIs(t, err, bus.ErrInvalid, field)
	}
}

// TestPermissions: what a user may not do is told at once, and concerns nothing
// else; what the documentation says that one needs is enough for everything.
func TestPermissions(t *testing.T) {
	t.Parallel()
	ns := buskit.Namespace()
	stream := strings.ToUpper(ns)
	s := startServer(t, users(map[string][]string{
		"admin":  nil,
		"writer": {"$JS.API.STREAM.INFO." + stream, ns + ".cmd.>"},
		"app": {
			ns + ".>", "dead." + ns + ".>", "$JS.ACK." + stream + ".>",
			"$JS.API.STREAM.*." + stream, "$JS.API.STREAM.*." + stream + "_DEAD", "$JS.API.STREAM.MSG.*." + stream + "_DEAD",
			"$JS.API.CONSUMER.*." + stream + ".>", "$JS.API.CONSUMER.MSG.NEXT." + stream + ".>",
		},
	}))
	for _, single := range []bool{false, true} {
		app := connect(t, s.urlOf("app:secret@"), natsbus.Options{Group: fmt.Sprint("g-", single), Namespace: ns, SingleActive: single})
		buskit.Publish(t, app, buskit.Event(t, "thing.happened", 1), buskit.Command(t, "thing.do", 1))
		for _, source := range []bus.Source{buskit.Listen(t, app, "thing.do"), buskit.Subscribe(t, app, "thing.happened")} {
			require.NoError(t, buskit.Take(t, source, 1)[0].Retry(t.Context(), time.Millisecond))
			require.NoError(t, buskit.Take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
			n, err := app.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			again := buskit.Take(t, source, 1)[0]
			require.True(t, again.Resent())
			require.NoError(t, again.Ack(t.Context()))
			require.NoError(t, source.Close(buskit.Ctx(t)))
		}
	}

	writer := connect(t, s.urlOf("writer:secret@"), natsbus.Options{Group: "w", Namespace: ns})
	messages := []envelope.Message{buskit.Command(t, "thing.do", 10), buskit.Event(t, "thing.happened", 11), buskit.Command(t, "thing.do", 12)}
	begin := time.Now()
	errs := bus.PublishErrors(writer.PublishBatch(buskit.Ctx(t), messages), len(messages))
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], bus.ErrRefused)
	require.True(t, bus.IsPermanent(errs[1]))
	require.NoError(t, errs[2])
	_, err := writer.Transport().Subscribe(buskit.Ctx(t), []string{"thing.happened"})
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.Less(t, time.Since(begin), 5*time.Second, "without waiting for an answer")
}

// TestFullStream: a stream that is full takes no more, and loses nothing.
func TestFullStream(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for name, limits := range map[string]natsbus.Limits{
		"messages": {MaxMessages: 3, MaxBytes: 1 << 20}, "bytes": {MaxBytes: 3 * 1024},
	} {
		t.Run(name, func(t *testing.T) {
			b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: buskit.Namespace(), Stream: limits})
			source := buskit.Subscribe(t, b, "thing.happened")
			var messages []envelope.Message
			for n := range 5 {
				m := buskit.Event(t, "thing.happened", n)
				m.Data = make([]byte, 600)
				messages = append(messages, m)
			}
			var kept []string
			for n, err := range bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), messages), len(messages)) {
				if err == nil {
					kept = append(kept, messages[n].ID)
					continue
				}
				require.ErrorIs(t, err, bus.ErrUnavailable)
				require.False(t, bus.IsPermanent(err))
			}
			require.NotEmpty(t, kept)
			require.Less(t, len(kept), len(messages))
			var got []string
			for _, d := range buskit.Take(t, source, len(kept)) {
				got = append(got, d.Message().ID)
				require.NoError(t, d.Ack(t.Context()))
			}
			require.Equal(t, kept, got)
		})
	}
}

// TestTooLarge: what the broker does not take is refused before it ends the
// connection, and what only the stream does not take, by its word.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	ns := buskit.Namespace()
	b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: ns})
	source := buskit.Subscribe(t, b, "blob.stored")
	most := b.Features().MaxMessageBytes
	require.Less(t, most, 64<<10)
	big, small := buskit.Event(t, "blob.stored", 1), buskit.Event(t, "blob.stored", 2)
	big.Data = make([]byte, most)
	errs := bus.PublishErrors(b.Transport().PublishBatch(buskit.Ctx(t), []envelope.Message{big, small}), 2)
	require.ErrorIs(t, errs[0], bus.ErrRefused)
	require.NoError(t, errs[1])
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))

	big.Data = make([]byte, most-1000) // with its headers it is just small enough
	buskit.Publish(t, b, big)
	d := buskit.Take(t, source, 1)[0]
	require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: strings.Repeat("r", bus.MaxReasonBytes), Attempts: 1, Time: time.Now()}))

	_, js := client(t, s.url())
	stranger := make([]byte, 64<<10-600) // larger than a bus publishes
	_, err := js.PublishMsg(buskit.Ctx(t), &nats.Msg{Subject: ns + ".evt.blob.stored", Data: stranger})
	require.NoError(t, err)
	d = buskit.Take(t, source, 1)[0]
	require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: strings.Repeat("r", bus.MaxReasonBytes), Attempts: 1, Time: time.Now()}))
	var reasons []int
	for l, err := range b.DeadLetters().List(buskit.Ctx(t), bus.DeadLetterFilter{}) {
		require.NoError(t, err)
		reasons = append(reasons, len(l.Reason))
	}
	require.Len(t, reasons, 2)
	require.Equal(t, bus.MaxReasonBytes, reasons[0])
	require.Less(t, reasons[1], bus.MaxReasonBytes, "the reason gives way")

	c, err := js.Stream(buskit.Ctx(t), strings.ToUpper(ns))
	require.NoError(t, err)
	config := c.CachedInfo().Config
	config.MaxMsgSize = 1000
	_, err = js.UpdateStream(buskit.Ctx(t), config)
	require.NoError(t, err)
	big.ID, big.Data = "other", make([]byte, 2000)
	require.ErrorIs(t, b.PublishBatch(buskit.Ctx(t), []envelope.Message{big}), bus.ErrRefused)
}

// TestWhatNATSCannotCarry: names that are no subjects, and headers with a meaning
// to the broker, are refused; nothing ends a header early.
func TestWhatNATSCannotCarry(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: buskit.Namespace()})
	for what, spoil := range map[string]func(*envelope.Message){
		"space in the name":       func(m *envelope.Message) { m.Name = "thing happened" },
		"empty token":             func(m *envelope.Message) { m.Name = "thing..happened" },
		"dot at the end":          func(m *envelope.Message) { m.Name = "thing." },
		"wildcard token":          func(m *envelope.Message) { m.Name = "thing.*" },
		"full wildcard":           func(m *envelope.Message) { m.Name = ">" },
		"broker's header":         func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"nats-Rollup": "all"} },
		"content type's header":   func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"content-Type": "x"} },
		"value ends with space":   func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k": "x\t"} },
		"key begins with space":   func(m *envelope.Message) { m.Key = " x" },
		"value begins with space": func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k": " x"} },
	} {
		m := buskit.Event(t, "thing.happened", 1)
		spoil(&m)
		err := b.PublishBatch(buskit.Ctx(t), []envelope.Message{m})
		require.ErrorIs(t, err, bus.ErrRefused, what)
		require.NotErrorIs(t, err, bus.ErrInvalid, "%s: other transports take it", what)
	}
	for what, spoil := range map[string]func(*envelope.Message){
		"line break in a value": func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k": "v\r\nNats-Rollup: all"} },
		"line break in a key":   func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k: v\r\nNats-Rollup": "all"} },
		"line break in the id":  func(m *envelope.Message) { m.ID = "id\nNats-Rollup: all" },
		"line break in a name":  func(m *envelope.Message) { m.Name = "a 0\r\n\r\nPUB other 0\r\n" },
	} {
		m := buskit.Event(t, "thing.happened", 1)
		spoil(&m)
		err := b.Transport().PublishBatch(buskit.Ctx(t), []envelope.Message{m}) // without the checks of the bus
		require.Error(t, err, what)
		require.True(t, bus.IsPermanent(bus.PublishErrors(err, 1)[0]), what)
	}
	for _, name := range []string{"a b", "a.*", ">", ".a"} {
		_, err := b.Transport().Subscribe(buskit.Ctx(t), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid, name)
		_, err = b.Transport().Listen(buskit.Ctx(t), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid, name)
	}
	literal := buskit.Subscribe(t, b, "a*b.c>")
	buskit.Publish(t, b, buskit.Event(t, "a*b.c>", 1), buskit.Event(t, "axb.cy", 1))
	require.Equal(t, "a*b.c>", buskit.Take(t, literal, 1)[0].Message().Name)
	buskit.Nothing(t, literal)
}

// TestDuplicates: a message that is published again is there once, while another
// window is open.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: buskit.Namespace(), Stream: natsbus.Limits{MaxBytes: 1 << 20, DedupWindow: time.Minute}})
	require.True(t, b.Features().Deduplicates)
	source := buskit.Subscribe(t, b, "thing.happened")
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1))
	buskit.Publish(t, b, buskit.Event(t, "thing.happened", 1))
	require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
	buskit.Nothing(t, source)
}

// TestBoundedInFlight: a batch larger than what may be in flight, and several at
// once, all arrive.
func TestBoundedInFlight(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: buskit.Namespace(), MaxInFlight: 3})
	source := buskit.Subscribe(t, b, "thing.happened")
	ended := make(chan error, 4)
	for part := range cap(ended) {
		var messages []envelope.Message
		for n := range 100 {
			m := buskit.Event(t, "thing.happened", 100*part+n)
			if n%10 == 3 {
				m.Name = "cannot be" // it takes no place
			}
			messages = append(messages, m)
		}
		go func() { ended <- b.Transport().PublishBatch(t.Context(), messages) }()
	}
	for range cap(ended) {
		errs := bus.PublishErrors(<-ended, 100)
		for n, err := range errs {
			require.Equal(t, n%10 == 3, err != nil, "%v", err)
		}
	}
	buskit.Take(t, source, 4*90)
}
