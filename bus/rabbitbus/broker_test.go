package rabbitbus_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// channel is one of the test's own, beside the bus.
func channel(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // it may be lost
	ch, err := conn.Channel()
	require.NoError(t, err)
	return ch
}
