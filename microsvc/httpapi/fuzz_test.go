package httpapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// FuzzRequest: whatever comes, the answer is one of those documented and JSON, never a
// 5xx, and what a command gets is what a direct call gets.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][6]string{
		{"POST", "/echo", "application/json", "Accept", "application/problem+json", `{"text":"a"}`},
		{"POST", "/echo", "application/vnd.a+json; charset=UTF-8", "X-Hasura-Role", "\xff", `{"text":"\ud800"}`},
		{"POST", "/echo", "application/json", "Idempotency-Key", "k\x01", `{"text":1}`},
		{"GET", "/openapi.json", "", "X-Request-Id", "a b", ""}, {"HEAD", "//echo", ";", "Content-Encoding", "gzip", "["},
		{"POST", "/echo/../\xff", "application/json", "X-Correlation-Id", "c", "{}"}, {"PUT", "", "text/plain", "Accept", "a/b;q=x,,", "null"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5])
	}
	type text struct {
		Text string `json:"text"`
	}
	svc := microsvc.New("s").WithOptions(microsvc.Options{Logger: slog.New(slog.DiscardHandler)}).
		Register(microsvc.Handle("echo", func(_ *microsvc.Context, in text) (text, error) { return in, nil }))
	api, err := httpapi.Handler(svc, &httpapi.Options{MaxBodyBytes: 1 << 12, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, method, path, contentType, name, value, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		require.True(t, slices.Contains([]int{200, 400, 404, 405, 413, 415, 431}, w.Code), "%d %s", w.Code, w.Body)
		require.True(t, method == http.MethodHead || json.Valid(w.Body.Bytes()), "%s", w.Body)
		direct, failed := svc.Dispatch(t.Context(), "echo", []byte(body), nil)
		switch {
		case strings.TrimPrefix(path, "/") != "echo" || method != http.MethodPost:
		case w.Code == 200:
			require.NoError(t, failed)
			require.Equal(t, string(direct), w.Body.String())
		case failed == nil: // it is the headers
			require.NotContains(t, w.Body.String(), `"decode"`)
		}
	})
}

// answering is a server's answer without a server.
type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }

// FuzzAnswers: whatever a service answers with, a client makes a reply of it or an error
// with a code and a text.
func FuzzAnswers(f *testing.F) {
	f.Add(422, `{"error":"no","code":"rejected","also":["guard"],"id":"1"}`, "1")
	f.Add(200, `{}`, "")
	f.Add(0, `null`, "-1")
	f.Add(503, `{"code":1,"also":{}}`, "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter string) {
		c, err := httpapi.NewClient("http://s", &httpapi.ClientOptions{HTTP: &http.Client{Transport: answering(func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: status, Request: r, Header: http.Header{"Retry-After": {retryAfter}}, Body: io.NopCloser(strings.NewReader(body))}
		})}})
		require.NoError(t, err)
		data, err := c.Do(t.Context(), "a", 1)
		if status == http.StatusOK {
			require.NoError(t, err)
			require.Equal(t, body, string(data))
			return
		}
		var p *microsvc.Problem
		require.ErrorAs(t, err, &p)
		require.NotEmpty(t, p.Code)
		require.NotEmpty(t, p.Error())
		require.Equal(t, status, p.Status)
		require.GreaterOrEqual(t, p.RetryAfter, time.Duration(0))
	})
}
