package testenv

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreePort is a port of the loopback that nobody listens on, for a server that is
// about to start. It is below those that systems give to outgoing connections
// (from 32768 on Linux), one of which could take it while the server boots.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, last = 26_000, 32_000
	var err error
	for range 100 {
		port := first + rand.IntN(last-first)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			_ = l.Close() // it was only to see that it is free
			return port
		}
	}
	t.Fatalf("no free port from %d to %d: %v", first, last, err)
	return 0
}
