package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

const secret = microsvctest.Secret

// world is a service of purses.
type world struct {
	*microsvctest.World
	t testing.TB
}

func newWorld(t testing.TB, more ...microsvc.Handler) *world {
	t.Helper()
	return &world{microsvctest.NewWorld(t, microsvc.Options{}, more...), t}
}

// serve serves w's service on a port, until the test ends.
func (w *world) serve(opts *httpapi.Options) *httptest.Server {
	w.t.Helper()
	api, err := httpapi.Handler(w.Service, opts)
	require.NoError(w.t, err)
	server := httptest.NewServer(api)
	w.t.Cleanup(server.Close)
	return server
}

type reply struct {
	status int
	header http.Header
	body   string
}

// send makes one request.
func send(t testing.TB, server *httptest.Server, method, path, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Content-Type" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return reply{resp.StatusCode, resp.Header, string(data)}
}
