package ceingress_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	ceevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/ceingress"
)

// FuzzRequest: whatever comes, the answer is one of those documented, what is
// handled is a whole message, and a request that is refused has no effect. What is
// taken in structured mode the SDK reads as the same event, if it takes it.
func FuzzRequest(f *testing.F) {
	object := `{"specversion":"1.0","id":"1","source":"/s","type":"a","sourcedkind":"event","data":{"n":1}}`
	for _, seed := range [][4]string{
		{structuredJSON, object, "Ce-Id", "1"}, {batchJSON, "[" + object + "," + object + "]", "", ""}, {"application/json", "{}", "Ce-Time", "x"},
		{structuredJSON, `{"specversion":"1.0","id":"\ud800","source":"/s","type":"a","data_base64":"AA==","datacontenttype":"a/b","n":-0}`, "", ""},
		{structuredJSON, `{"specversion":"1.0","id":"1","source":"/s","type":"a","data":"text","datacontenttype":"text/plain"}`, "", ""},
		{batchJSON, `[{"a":[[[[`, "", ""}, {"text/plain", "x", "Ce-Sourcedmeta", `{"a":"b"}`}, {"application/cloudevents", "", "Content-Encoding", "gzip"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	var got []envelope.Message
	svc, run := quiet(bus.Idempotent())
	svc.Use(func(microsvc.HandlerFunc) microsvc.HandlerFunc {
		return func(c *microsvc.Context) (any, error) {
			got = append(got, *c.Message())
			return nil, nil
		}
	}).Event("a", func(*microsvc.Context) error { return nil })
	run.Logger, run.Concurrency = slog.New(slog.DiscardHandler), 1
	in, err := ceingress.Handler(svc, run, &ceingress.Options{Session: []string{"*"}, MaxBatch: 3, MaxBodyBytes: 1 << 16})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, contentType, body, name, value string) {
		got = nil
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		for header := ce("id", "a"); len(header) > 0; header = header[2:] {
			r.Header.Set(header[0], header[1])
		}
		r.Header.Set("Content-Type", contentType)
		if name != "" {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		in.ServeHTTP(w, r)
		require.True(t, slices.Contains([]int{200, 400, 413, 415, 422, 431}, w.Code), "%d %s", w.Code, w.Body)
		require.Equal(t, w.Code == 200, w.Body.Len() == 0)
		for i := range got {
			require.NoError(t, got[i].Validate())
		}
		if w.Code != 200 && w.Code != 422 {
			require.Empty(t, got)
			require.True(t, json.Valid(w.Body.Bytes()))
		}
		var e ceevent.Event
		if w.Code != 200 || r.Header.Get("Content-Type") != structuredJSON || json.Unmarshal([]byte(body), &e) != nil || e.Validate() != nil {
			return
		}
		require.Len(t, got, 1)
		require.Equal(t, e.Type(), got[0].Name)
		if e.Extensions()["sourcedkind"] == nil {
			require.Equal(t, e.Source()+" "+e.ID(), got[0].ID)
		} else {
			require.Equal(t, e.ID(), got[0].ID)
		}
	})
}
