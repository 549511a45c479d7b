package membus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	t.Parallel()
	broker := membus.NewBroker(nil)
	bustest.Run(t, bustest.Config{
		Connect: func(t testing.TB, namespace, group string) *bus.Bus {
			b := broker.Connect(&membus.Options{Group: group, Namespace: namespace})
			t.Cleanup(func() { _ = b.Close() })
			return b
		},
	})
}
