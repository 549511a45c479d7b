package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/httpapi"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestFaces(t *testing.T) {
	t.Parallel()
	for name, face := range map[string]microsvctest.Face{"error": plain("application/json"), "problem": plain("application/problem+json")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			microsvctest.Run(t, face)
		})
	}
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		microsvctest.Run(t, throughClient)
		microsvctest.RunClient(t, throughClient)
	})
}

// headers are those of a call.
func headers(c microsvctest.Call) map[string]string {
	h := map[string]string{httpapi.HeaderRequestID: c.ID}
	if c.Key != "" {
		h[httpapi.HeaderIdempotencyKey] = c.Key
	}
	for name, value := range c.Session {
		if name == microsvc.KeyCorrelationID {
			name = httpapi.HeaderCorrelationID
		}
		h[name] = value
	}
	return h
}

// plain is HTTP as anybody speaks it, who wants failures as accept says.
func plain(accept string) microsvctest.Face {
	return microsvctest.Face{Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
		server := (&world{w, t}).serve(nil)
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/"+c.Command, strings.NewReader(c.Input))
			if err != nil {
				return microsvctest.Answer{Err: err}
			}
			for name, value := range headers(c) {
				req.Header.Set(name, value)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", accept)
			resp, err := server.Client().Do(req)
			if err != nil {
				return microsvctest.Answer{Err: err}
			}
			body, err := io.ReadAll(resp.Body)
			err = errors.Join(err, resp.Body.Close())
			if err != nil {
				return microsvctest.Answer{Err: err}
			}
			return read(resp, string(body), accept)
		}
	}}
}

// read reads an answer after docs/services.md.
func read(resp *http.Response, body, accept string) microsvctest.Answer {
	got := microsvctest.Answer{Status: resp.StatusCode, Raw: fmt.Sprint(resp.Header, body)}
	typ := resp.Header.Get("Content-Type")
	if resp.StatusCode == http.StatusOK {
		got.Reply = body
		if typ != "application/json" {
			got.Err = fmt.Errorf("a reply is %q", typ)
		}
		return got
	}
	var f struct {
		Error, Detail, Type, Title, ID string
		Status                         int
		Code                           aggregate.Code
		Also                           []aggregate.Code
	}
	err := json.Unmarshal([]byte(body), &f)
	isProblem := f.Type == "about:blank" && f.Title == http.StatusText(resp.StatusCode) && f.Status == resp.StatusCode && f.Error == ""
	isError := f.Type == "" && f.Title == "" && f.Status == 0 && f.Detail == ""
	unauthorized := resp.StatusCode == http.StatusUnauthorized
	if err != nil || typ != accept || isProblem != (accept == "application/problem+json") || isError == isProblem || unauthorized != (resp.Header.Get("WWW-Authenticate") != "") {
		return microsvctest.Answer{Err: errors.Join(fmt.Errorf("%v %s", resp.Header, body), err)}
	}
	got.Problem = &microsvc.Problem{Status: resp.StatusCode, Code: f.Code, Also: f.Also, Message: f.Error + f.Detail, ID: f.ID}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	got.Problem.RetryAfter = time.Duration(seconds) * time.Second
	return got
}

var throughClient = microsvctest.Face{
	Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
		c, err := httpapi.NewClient((&world{w, t}).serve(nil).URL, nil)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return func(ctx context.Context, call microsvctest.Call) microsvctest.Answer {
			var opts []httpapi.CallOption
			for name, value := range headers(call) {
				opts = append(opts, httpapi.WithHeader(name, value))
			}
			reply, err := c.Do(ctx, call.Command, json.RawMessage(call.Input), opts...)
			return microsvctest.Answer{Err: err, Reply: string(reply)}
		}
	},
	Wants: func(c *microsvctest.Case) { c.Refused = !json.Valid([]byte(c.Input)) }, // a client sends JSON only
}
