package testenv_test

import (
	"bufio"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

// TestRecorder: each connection's words are kept apart, and reach the server.
func TestRecorder(t *testing.T) {
	t.Parallel()
	r := testenv.StartRecorder(t, echo(t))
	for _, words := range []string{"one\n", "two\n"} {
		conn, err := net.Dial("tcp", r.Addr())
		require.NoError(t, err)
		_, err = io.WriteString(conn, words)
		require.NoError(t, err)
		back, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, words, back)
		require.NoError(t, conn.Close())
	}
	require.Equal(t, [][]byte{[]byte("one\n"), []byte("two\n")}, r.Streams())
}
