package rabbitbus_test

import (
	"fmt"
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

// removeAfter deletes behind a test what a bus of that group declared, with the
// commands and the delays that tests use: a broker with thousands of quorum
// queues runs out of memory.
func removeAfter(t testing.TB, url, namespace, group string) {
	t.Helper()
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		if err != nil {
			return // a server of the test's own
		}
		defer func() { _ = conn.Close() }()
		ch, err := conn.Channel()
		if err != nil {
			return
		}
		queues := []string{namespace + ".dead", namespace + ".evt." + group, namespace + ".evt.rejecting"}
		for _, name := range []string{"work.do", "thing.do", "other.do", "same.name", "order.ship", "count.up", "first.do", "full", "free", "known", "thing.*.do#", "shipping.ship"} {
			queues = append(queues, namespace+".cmd."+name)
		}
		for _, ms := range []int{20, 30, 40, 60, 80, 120, 240, 320, 480, 960} {
			queues = append(queues, fmt.Sprintf("%s.delay.cmd.%d", namespace, ms), fmt.Sprintf("%s.delay.evt.%s.%d", namespace, group, ms))
		}
		for _, name := range queues {
			_, _ = ch.QueueDelete(name, false, false, false) // one that does not exist is no error
		}
		for _, name := range []string{namespace + ".events", namespace + ".evt." + group + ".again"} {
			_ = ch.ExchangeDelete(name, false, false)
		}
	})
}
