//go:build unix

package rabbitbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// TestConnectErrors: what a wrong address, password, virtual host or permission
// is at the start.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_vhost", "closed")
	s.ctl("add_user", "reader", "secret")
	s.ctl("set_permissions", "reader", "^nothing$", ".*", ".*")
	s.ctl("add_user", "listener", "secret")
	s.ctl("set_permissions", "listener", `^app\.events$`, ".*", ".*")
	open := func(url string) error {
		b, err := rabbitbus.Connect(buskit.Ctx(t), url, rabbitbus.Options{Group: "g", Namespace: "app", Logger: quiet})
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	require.NoError(t, open(s.url()))

	err := open(s.urlOf("guest:wrong", s.addr(), ""))
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.NotContains(t, err.Error(), "wrong", "the password")

	err = open(s.urlOf("guest:guest", fmt.Sprint("127.0.0.1:", testenv.FreePort(t)), ""))
	require.ErrorIs(t, err, bus.ErrUnavailable)

	err = open(s.urlOf("guest:guest", s.addr(), "missing"))
	require.ErrorIs(t, err, rabbitbus.ErrVhost)
	require.ErrorIs(t, err, bus.ErrInvalid)

	require.ErrorIs(t, open(s.urlOf("reader:secret", s.addr(), "closed")), bus.ErrUnauthorized, "no access to the virtual host")
	require.ErrorIs(t, open(s.urlOf("reader:secret", s.addr(), "")), bus.ErrUnauthorized, "no permission to declare")

	for _, url := range []string{"http://127.0.0.1", "amqp://guest:se cret@127.0.0.1", "amqp://guest:secret%zz@127.0.0.1/", "amqp://127.0.0.1/?auth_mechanism=magic"} {
		err := open(url)
		require.ErrorIs(t, err, bus.ErrInvalid, url)
		require.NotContains(t, err.Error(), "secret", "the password")
	}

	b := connect(t, s.urlOf("listener:secret", s.addr(), ""), rabbitbus.Options{Group: "g", Namespace: "app"})
	_, err = b.Transport().Subscribe(buskit.Ctx(t), []string{"thing.happened"})
	require.ErrorIs(t, err, bus.ErrUnauthorized)
	require.Contains(t, err.Error(), "app.evt.g", "it says which queue")
	_, err = b.Transport().Listen(buskit.Ctx(t), []string{"thing.do"})
	require.ErrorIs(t, err, bus.ErrUnauthorized)
}

// TestLeastPermissions: what Connect says that a user needs is enough for
// everything.
func TestLeastPermissions(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_user", "app", "secret")
	s.ctl("set_permissions", "app", `^app\.`, `^(app\..*|amq\.default)$`, `^app\.`)
	for _, name := range []string{"quorum", "compat"} {
		opts := modes[name]
		opts.Group, opts.Namespace = "g", "app."+name
		b := connect(t, s.urlOf("app:secret", s.addr(), ""), opts)
		for _, source := range []bus.Source{buskit.Listen(t, b, "thing.do"), buskit.Subscribe(t, b, "thing.happened")} {
			buskit.PublishUntil(t, b, buskit.Event(t, "thing.happened", 1), buskit.Command(t, "thing.do", 1))
			require.NoError(t, buskit.Take(t, source, 1)[0].Retry(t.Context(), time.Millisecond))
			require.NoError(t, buskit.Take(t, source, 1)[0].DeadLetter(t.Context(), bus.Failure{Reason: "r", Attempts: 2, Time: time.Now()}))
			n, err := b.DeadLetters().ResendAll(buskit.Ctx(t), bus.DeadLetterFilter{})
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.NoError(t, buskit.Take(t, source, 1)[0].Ack(t.Context()))
		}
	}
}

// TestNoPermissionToWrite: a message that the broker does not let us publish
// ends the channel; the others on their way arrive all the same.
func TestNoPermissionToWrite(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.ctl("add_user", "writer", "secret")
	s.ctl("set_permissions", "writer", ".*", `^amq\.default$`, ".*") // no events
	ns := buskit.Namespace()
	b := connect(t, s.urlOf("writer:secret", s.addr(), ""), rabbitbus.Options{Group: "g", Namespace: ns})
	source := buskit.Listen(t, b, "thing.do")
	var messages []envelope.Message
	for n := range 20 {
		messages = append(messages, buskit.Command(t, "thing.do", n))
	}
	messages[7] = buskit.Event(t, "thing.happened", 7)
	errs := bus.PublishErrors(b.PublishBatch(buskit.Ctx(t), messages), len(messages))
	for n, err := range errs {
		if n == 7 {
			require.ErrorIs(t, err, bus.ErrRefused)
			require.True(t, bus.IsPermanent(err))
		} else {
			require.NoError(t, err, "command %d", n)
		}
	}
	ids := map[string]bool{}
	for len(ids) < 19 { // some may come twice
		for _, d := range buskit.Take(t, source, 1) {
			ids[d.Message().ID] = true
			require.NoError(t, d.Ack(t.Context()))
		}
	}
}
