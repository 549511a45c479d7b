package membus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/bustest"
	"github.com/troupe-go/troupe/bus/membus"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.Config{Connect: connector()})
}

// TestService: a service on this bus passes the table of all faces.
func TestService(t *testing.T) {
	t.Parallel()
	microsvctest.RunBus(t, connector())
}

// connector connects to a broker of its own.
func connector() func(t testing.TB, namespace, group string) *bus.Bus {
	broker := membus.NewBroker(nil)
	return func(t testing.TB, namespace, group string) *bus.Bus {
		b := broker.Connect(&membus.Options{Group: group, Namespace: namespace})
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
}
