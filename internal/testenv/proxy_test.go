package testenv_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// client sends a line and returns the answer.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, p *testenv.Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, bufio.NewReader(c)}
}

func (c *client) ask(line string) (string, error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	return c.r.ReadString('\n')
}

func TestProxyCutsBeforeAndAfterAReply(t *testing.T) {
	t.Parallel()
	p := testenv.StartProxy(t, echo(t))
	c := dial(t, p)
	answer, err := c.ask("hello")
	require.NoError(t, err)
	require.Equal(t, "hello\n", answer)

	p.OnReply(func(reply []byte) testenv.Cut {
		if string(reply) == "after\n" {
			return testenv.CutAfter
		}
		return testenv.CutBefore
	})
	_, err = c.ask("before")
	require.Error(t, err)

	c = dial(t, p)
	answer, err = c.ask("after")
	require.NoError(t, err)
	require.Equal(t, "after\n", answer)
	_, err = c.r.ReadString('\n')
	require.Error(t, err)
}

func TestProxyFreezesAndRefuses(t *testing.T) {
	t.Parallel()
	p := testenv.StartProxy(t, echo(t))
	c := dial(t, p)
	p.Freeze()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.ask("held up")
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	p.Thaw()
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	answer, err := c.r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held up\n", answer)

	p.Refuse(true)
	p.CutAll()
	_, err = c.ask("cut")
	require.Error(t, err)
	_, err = dial(t, p).ask("refused")
	require.Error(t, err)
	p.Refuse(false)
	_, err = dial(t, p).ask("back")
	require.NoError(t, err)
}
