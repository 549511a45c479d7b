package natsbus_test

import (
	"context"
	"crypto/rand"
	"errors"
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
)

func namespace() string { return "n" + strings.ToLower(rand.Text()[:10]) }

func within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func event(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m, err := bus.NewEvent(name, n, bus.WithID(fmt.Sprintf("%s-%d", name, n)), bus.WithKey(fmt.Sprint("key-", n)))
	require.NoError(t, err)
	return m
}

func command(t testing.TB, name string, n int) envelope.Message {
	t.Helper()
	m := event(t, name, n)
	m.Kind, m.ID = envelope.KindCommand, "command-"+m.ID
	return m
}

// subscribe opens a source, which is closed at the end.
func subscribe(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	s, err := b.Transport().Subscribe(within(t, patience), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

func listen(t testing.TB, b *bus.Bus, names ...string) bus.Source {
	t.Helper()
	s, err := b.Transport().Listen(within(t, patience), names)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) }) // the broker may be away
	return s
}

// take receives n deliveries, however often the broker is away meanwhile.
func take(t testing.TB, s bus.Source, n int) []bus.Delivery {
	t.Helper()
	ctx := within(t, patience)
	var all []bus.Delivery
	for len(all) < n {
		some, err := s.Receive(ctx, n-len(all))
		if errors.Is(err, bus.ErrUnavailable) {
			time.Sleep(20 * time.Millisecond) // as a run does
			continue
		}
		require.NoError(t, err)
		all = append(all, some...)
	}
	return all
}

// nothing makes sure that no message comes for a while.
func nothing(t testing.TB, s bus.Source) {
	t.Helper()
	got, err := s.Receive(within(t, 300*time.Millisecond), 10)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, got)
}

func publish(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.NoError(t, b.PublishBatch(within(t, patience), messages))
}

// publishUntil publishes until the broker takes it.
func publishUntil(t testing.TB, b *bus.Bus, messages ...envelope.Message) {
	t.Helper()
	require.Eventually(t, func() bool {
		err := b.PublishBatch(within(t, 5*time.Second), messages)
		require.False(t, bus.IsPermanent(err), "%v", err)
		return err == nil
	}, patience, 20*time.Millisecond)
}

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
		b, err := natsbus.Connect(within(t, patience), url, natsbus.Options{Group: "g", Namespace: "app", Stream: small, Logger: quiet})
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

	_, err := natsbus.Connect(within(t, patience), s.url(), natsbus.Options{
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
	ns := namespace()
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
		publish(t, app, event(t, "thing.happened", 1), command(t, "thing.do", 1))
		for _, source := range []bus.Source{listen(t, app, "thing.do"), subscribe(t, app, "thing.happened")} {
			require.NoError(t, take(t, source, 1)[0].Retry(t.Context(), time.Millisecond))
			require.NoError(t, take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
			n, err := app.DeadLetters().ResendAll(within(t, patience), bus.DeadLetterFilter{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			again := take(t, source, 1)[0]
			require.True(t, again.Resent())
			require.NoError(t, again.Ack(t.Context()))
			require.NoError(t, source.Close(within(t, patience)))
		}
	}

	writer := connect(t, s.urlOf("writer:secret@"), natsbus.Options{Group: "w", Namespace: ns})
	messages := []envelope.Message{command(t, "thing.do", 10), event(t, "thing.happened", 11), command(t, "thing.do", 12)}
	begin := time.Now()
	errs := bus.PublishErrors(writer.PublishBatch(within(t, patience), messages), len(messages))
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], bus.ErrRefused)
	require.True(t, bus.IsPermanent(errs[1]))
	require.NoError(t, errs[2])
	_, err := writer.Transport().Subscribe(within(t, patience), []string{"thing.happened"})
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
			b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: namespace(), Stream: limits})
			source := subscribe(t, b, "thing.happened")
			var messages []envelope.Message
			for n := range 5 {
				m := event(t, "thing.happened", n)
				m.Data = make([]byte, 600)
				messages = append(messages, m)
			}
			var kept []string
			for n, err := range bus.PublishErrors(b.PublishBatch(within(t, patience), messages), len(messages)) {
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
			for _, d := range take(t, source, len(kept)) {
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
	ns := namespace()
	b := connect(t, s.url(), natsbus.Options{Group: "g", Namespace: ns})
	source := subscribe(t, b, "blob.stored")
	most := b.Features().MaxMessageBytes
	require.Less(t, most, 64<<10)
	big, small := event(t, "blob.stored", 1), event(t, "blob.stored", 2)
	big.Data = make([]byte, most)
	errs := bus.PublishErrors(b.Transport().PublishBatch(within(t, patience), []envelope.Message{big, small}), 2)
	require.ErrorIs(t, errs[0], bus.ErrRefused)
	require.NoError(t, errs[1])
	require.NoError(t, take(t, source, 1)[0].Ack(t.Context()))

	big.Data = make([]byte, most-1000) // with its headers it is just small enough
	publish(t, b, big)
	d := take(t, source, 1)[0]
	require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: strings.Repeat("r", bus.MaxReasonBytes), Attempts: 1, Time: time.Now()}))

	_, js := client(t, s.url())
	stranger := make([]byte, 64<<10-600) // larger than a bus publishes
	_, err := js.PublishMsg(within(t, patience), &nats.Msg{Subject: ns + ".evt.blob.stored", Data: stranger})
	require.NoError(t, err)
	d = take(t, source, 1)[0]
	require.NoError(t, d.DeadLetter(t.Context(), bus.Failure{Reason: strings.Repeat("r", bus.MaxReasonBytes), Attempts: 1, Time: time.Now()}))
	var reasons []int
	for l, err := range b.DeadLetters().List(within(t, patience), bus.DeadLetterFilter{}) {
		require.NoError(t, err)
		reasons = append(reasons, len(l.Reason))
	}
	require.Len(t, reasons, 2)
	require.Equal(t, bus.MaxReasonBytes, reasons[0])
	require.Less(t, reasons[1], bus.MaxReasonBytes, "the reason gives way")

	c, err := js.Stream(within(t, patience), strings.ToUpper(ns))
	require.NoError(t, err)
	config := c.CachedInfo().Config
	config.MaxMsgSize = 1000
	_, err = js.UpdateStream(within(t, patience), config)
	require.NoError(t, err)
	big.ID, big.Data = "other", make([]byte, 2000)
	require.ErrorIs(t, b.PublishBatch(within(t, patience), []envelope.Message{big}), bus.ErrRefused)
}

// TestWhatNATSCannotCarry: names that are no subjects, and headers with a meaning
// to the broker, are refused; nothing ends a header early.
func TestWhatNATSCannotCarry(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: namespace()})
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
		m := event(t, "thing.happened", 1)
		spoil(&m)
		err := b.PublishBatch(within(t, patience), []envelope.Message{m})
		require.ErrorIs(t, err, bus.ErrRefused, what)
		require.NotErrorIs(t, err, bus.ErrInvalid, "%s: other transports take it", what)
	}
	for what, spoil := range map[string]func(*envelope.Message){
		"line break in a value": func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k": "v\r\nNats-Rollup: all"} },
		"line break in a key":   func(m *envelope.Message) { m.Metadata.Keys = map[string]string{"k: v\r\nNats-Rollup": "all"} },
		"line break in the id":  func(m *envelope.Message) { m.ID = "id\nNats-Rollup: all" },
		"line break in a name":  func(m *envelope.Message) { m.Name = "a 0\r\n\r\nPUB other 0\r\n" },
	} {
		m := event(t, "thing.happened", 1)
		spoil(&m)
		err := b.Transport().PublishBatch(within(t, patience), []envelope.Message{m}) // without the checks of the bus
		require.Error(t, err, what)
		require.True(t, bus.IsPermanent(bus.PublishErrors(err, 1)[0]), what)
	}
	for _, name := range []string{"a b", "a.*", ">", ".a"} {
		_, err := b.Transport().Subscribe(within(t, patience), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid, name)
		_, err = b.Transport().Listen(within(t, patience), []string{name})
		require.ErrorIs(t, err, bus.ErrInvalid, name)
	}
	literal := subscribe(t, b, "a*b.c>")
	publish(t, b, event(t, "a*b.c>", 1), event(t, "axb.cy", 1))
	require.Equal(t, "a*b.c>", take(t, literal, 1)[0].Message().Name)
	nothing(t, literal)
}

// TestDuplicates: a message that is published again is there once, while another
// window is open.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: namespace(), Stream: natsbus.Limits{MaxBytes: 1 << 20, DedupWindow: time.Minute}})
	require.True(t, b.Features().Deduplicates)
	source := subscribe(t, b, "thing.happened")
	publish(t, b, event(t, "thing.happened", 1))
	publish(t, b, event(t, "thing.happened", 1))
	require.NoError(t, take(t, source, 1)[0].Ack(t.Context()))
	nothing(t, source)
}

// TestBoundedInFlight: a batch larger than what may be in flight, and several at
// once, all arrive.
func TestBoundedInFlight(t *testing.T) {
	t.Parallel()
	url := broker(t)
	b := connect(t, url, natsbus.Options{Group: "g", Namespace: namespace(), MaxInFlight: 3})
	source := subscribe(t, b, "thing.happened")
	ended := make(chan error, 4)
	for part := range cap(ended) {
		var messages []envelope.Message
		for n := range 100 {
			m := event(t, "thing.happened", 100*part+n)
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
	take(t, source, 4*90)
}
