package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// httpRequest is a request that is used again, and the writer of its answers.
func httpRequest(h http.Handler, input []byte) func() error {
	body := bytes.NewReader(input)
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/" + depositCommand.Name()}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "accounts",
		Header: http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"Go-http-client/1.1"},
			"Content-Length": {strconv.Itoa(len(input))}, "Accept-Encoding": {"gzip"},
		},
		Body: io.NopCloser(body), ContentLength: int64(len(input)),
	}
	r = r.WithContext(context.Background())
	w := &answer{header: http.Header{}}
	return func() error {
		body.Reset(input)
		clear(w.header)
		w.status = http.StatusOK
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			return fmt.Errorf("answered with %d", w.status)
		}
		return nil
	}
}

// answer is a ResponseWriter that drops the body.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }

// What a handler may ask of the writer of a server.
func (a *answer) Flush()                           {}
func (a *answer) SetReadDeadline(time.Time) error  { return nil }
func (a *answer) SetWriteDeadline(time.Time) error { return nil }

// httpConnection is a client that costs next to nothing: it sends the same bytes
// on one connection, and of the answers reads the status and the length.
func httpConnection(b *testing.B, addr string, input []byte) func() error {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	request := fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: accounts\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\nAccept: application/json\r\n"+
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n%s", depositCommand.Name(), len(input), input)
	r := bufio.NewReaderSize(conn, 1024)
	ok, length := []byte("HTTP/1.1 200 "), []byte("Content-Length: ")
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, ok) {
			return fmt.Errorf("answered with %q", line)
		}
		n := -1
		for len(line) > len("\r\n") {
			if line, err = r.ReadSlice('\n'); err != nil {
				return err
			}
			if value, has := bytes.CutPrefix(line, length); has {
				n = 0
				for _, digit := range bytes.TrimSpace(value) {
					n = n*10 + int(digit-'0')
				}
			}
		}
		if n < 0 {
			return errors.New("answered without Content-Length")
		}
		_, err = r.Discard(n)
		return err
	}
}

// Frames of HTTP/2, and their flags.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway, frameWindow = 0, 1, 3, 4, 6, 7, 8
	flagAck, flagEndStream, flagEndHeaders                                                  = 1, 1, 4
)

func appendFrame(dst []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, payload...)
}

// grpcConnection is httpConnection for gRPC: one call at a time, whose metadata is
// what the connection's first call had, in the table that HPACK keeps.
func grpcConnection(b *testing.B, addr string, input []byte) func() error {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	message, err := proto.Marshal(request(input))
	if err != nil {
		b.Fatal(err)
	}
	data := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	const methodPost, schemeHTTP, literal, indexed = 0x83, 0x86, 0x40, 0x80
	first, again := []byte{methodPost, schemeHTTP}, []byte{methodPost, schemeHTTP}
	fields := [][2]string{
		{":path", commandpb.CommandService_Dispatch_FullMethodName}, {":authority", "accounts"},
		{"content-type", "application/grpc"}, {"user-agent", "grpc-go/1.85.0"}, {"te", "trailers"},
	}
	for i, f := range fields {
		first = append(append(append(first, literal, byte(len(f[0]))), f[0]...), byte(len(f[1])))
		first = append(first, f[1]...)
		again = append(again, indexed|byte(61+len(fields)-i)) // the newest is 62
	}
	var window [4]byte
	binary.BigEndian.PutUint32(window[:], 1<<30)
	hello := appendFrame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frameSettings, 0, 0, nil)
	hello = appendFrame(hello, frameWindow, 0, 0, window[:])
	if _, err := conn.Write(hello); err != nil {
		b.Fatal(err)
	}
	r, stream, headers := bufio.NewReaderSize(conn, 1024), uint32(1), first
	var out []byte
	return func() error {
		out = appendFrame(out[:0], frameHeaders, flagEndHeaders, stream, headers)
		out = appendFrame(out, frameData, flagEndStream, stream, data)
		if _, err := conn.Write(out); err != nil {
			return err
		}
		headers = again
		if err := grpcReply(r, conn, stream); err != nil {
			return err
		}
		stream += 2
		return nil
	}
}

// grpcReply reads to the end of a stream, whose message must have status 200.
func grpcReply(r *bufio.Reader, w io.Writer, stream uint32) error {
	ok := []byte{1 << 3, 200 | 0x80, 1} // field 1, 200
	for done := false; ; {
		head, err := r.Peek(9)
		if err != nil {
			return err
		}
		n, kind, flags, on := int(head[0])<<16|int(head[1])<<8|int(head[2]), head[3], head[4], binary.BigEndian.Uint32(head[5:])
		frame, err := r.Peek(9 + n)
		if err != nil {
			return err
		}
		payload := frame[9:]
		switch {
		case kind == frameData && on == stream:
			done = len(payload) > 5 && bytes.HasPrefix(payload[5:], ok)
		case kind == frameHeaders && on == stream && flags&flagEndStream != 0 && !done:
			return errors.New("answered with a failure")
		case kind == frameReset || kind == frameGoAway:
			return fmt.Errorf("frame %d", kind)
		case (kind == frameSettings || kind == framePing) && flags&flagAck == 0:
			if kind == frameSettings {
				payload = nil
			}
			if _, err := w.Write(appendFrame(nil, kind, flagAck, 0, payload)); err != nil {
				return err
			}
		}
		if _, err := r.Discard(9 + n); err != nil || kind == frameHeaders && on == stream && flags&flagEndStream != 0 {
			return err
		}
	}
}
