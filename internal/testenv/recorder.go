package testenv

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// Recorder is a proxy that keeps what clients send, by connection.
type Recorder struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	streams []*bytes.Buffer
}

// StartRecorder starts one in front of target ("127.0.0.1:5672"), which takes
// connections until [Recorder.Streams] or the end of the test.
func StartRecorder(t testing.TB, target string) *Recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{listener: l}
	t.Cleanup(func() { _ = l.Close() }) // Streams has done so, if the test came to it
	r.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			stream := &bytes.Buffer{}
			r.mu.Lock()
			r.streams = append(r.streams, stream)
			r.mu.Unlock()
			r.running.Go(func() {
				_, _ = io.Copy(client, server)
				_ = client.Close()
			})
			r.running.Go(func() {
				_, _ = io.Copy(server, io.TeeReader(client, stream))
				_ = server.Close()
			})
		}
	})
	return r
}

// Addr is where clients connect to.
func (r *Recorder) Addr() string { return r.listener.Addr().String() }

// Streams are what was recorded, one for each connection, in the order in which
// they were made, once all have ended.
func (r *Recorder) Streams() [][]byte {
	_ = r.listener.Close() // if it is not yet
	r.running.Wait()
	var streams [][]byte
	for _, s := range r.streams {
		streams = append(streams, s.Bytes())
	}
	return streams
}
