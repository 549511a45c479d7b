package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// An input comes as it was sent, whatever its size and whether or not its length
// was told, or told wrongly to a handler without a server of its own.
func TestInputsOfAnySize(t *testing.T) {
	t.Parallel()
	const limit = 2000
	svc := microsvc.New("sizes").Register(microsvc.Handle("size", func(_ *microsvc.Context, in string) (int, error) { return len(in), nil }))
	api, err := httpapi.Handler(svc, &httpapi.Options{MaxBodyBytes: limit})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	defer server.Close()
	for _, size := range []int{2, 3, 100, 510, 511, 512, 513, 514, 1025, limit - 1, limit, limit + 1} {
		want, text := http.StatusOK, strconv.Itoa(size-2)
		if size > limit {
			want, text = http.StatusRequestEntityTooLarge, ""
		}
		body := `"` + strings.Repeat("x", size-2) + `"`
		for _, length := range []int64{int64(size), -1} { // which is chunked
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/size", io.NopCloser(strings.NewReader(body)))
			require.NoError(t, err)
			req.ContentLength = length
			req.Header.Set("Content-Type", "application/json")
			resp, err := server.Client().Do(req)
			require.NoError(t, err)
			data, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, resp.StatusCode, "%d bytes, length %d: %s", size, length, data)
			require.True(t, text == "" || text == string(data), "%d bytes, length %d: %s", size, length, data)
		}
		for _, wrong := range []int64{0, 1, 600, 1 << 40} {
			req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/size", strings.NewReader(body))
			req.ContentLength = wrong
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			api.ServeHTTP(w, req)
			require.Equal(t, want, w.Code, "%d bytes, length %d: %s", size, wrong, w.Body)
			require.True(t, text == "" || text == w.Body.String(), "%d bytes, length %d: %s", size, wrong, w.Body)
		}
	}
}
