package natsbus_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// natsServer is a server in this process, which a test may end and start again
// with its port and what it has on disk.
type natsServer struct {
	t    testing.TB
	opts server.Options
	*server.Server
}

// startServer starts one with JetStream, unless change says otherwise.
func startServer(t testing.TB, change ...func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: testenv.FreePort(t), NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 8 << 30, JetStreamMaxMemory: 1 << 30,
	}}
	for _, f := range change {
		f(&s.opts)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	opts := s.opts
	var err error
	s.Server, err = server.NewServer(&opts)
	require.NoError(s.t, err)
	go s.Start()
	require.True(s.t, s.ReadyForConnections(buskit.Patience))
}

func (s *natsServer) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *natsServer) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *natsServer) url() string { return s.urlOf("") }

// urlOf is the address with "user:password@", or without.
func (s *natsServer) urlOf(user string) string {
	return fmt.Sprintf("nats://%s127.0.0.1:%d", user, s.opts.Port)
}
