package ceingress_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

func TestFaces(t *testing.T) {
	t.Parallel()
	for name, encode := range map[string]func(event) (contentType, body string, header map[string]string){
		"binary": binary, "structured": structured, "batched": batched,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			microsvctest.Run(t, face(name == "batched", encode))
		})
	}
}

// event is a CloudEvent: attributes and data.
type event struct {
	attributes map[string]string
	data       string
}

func binary(e event) (contentType, body string, header map[string]string) {
	header = map[string]string{}
	for name, value := range e.attributes {
		header["Ce-"+name] = percent(value)
	}
	return "application/json", e.data, header
}

// percent encodes a header's value as CloudEvents say.
func percent(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

func structured(e event) (contentType, body string, header map[string]string) {
	all := maps.Clone(e.attributes)
	all["datacontenttype"] = "application/json"
	all["data_base64"] = base64.StdEncoding.EncodeToString([]byte(e.data)) // it may be no JSON
	data, _ := json.Marshal(all)                                           // of strings there is no error
	return structuredJSON, string(data), nil
}

func batched(e event) (contentType, body string, header map[string]string) {
	_, body, _ = structured(e)
	return batchJSON, "[" + body + "]", nil
}

// face is an ingress with an inbox: it answers with what a broker is to
// do, and never with a reply.
func face(batch bool, encode func(event) (contentType, body string, header map[string]string)) microsvctest.Face {
	return microsvctest.Face{
		Open: func(t testing.TB, w *microsvctest.World) microsvctest.Caller {
			server := serve(t, w.Service, bus.Inbox(w.Journal), everything)
			return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
				e := event{data: c.Input, attributes: map[string]string{
					"specversion": "1.0", "source": "/test", "id": c.ID, "type": c.Command, "sourcedkind": "command",
				}}
				if c.Event {
					e.attributes["sourcedkind"] = "event"
				}
				if c.Key != "" {
					e.attributes["id"] = c.Key
				}
				session := c.Session.Clone()
				if id := session[microsvc.KeyCorrelationID]; id != "" {
					e.attributes["correlationid"] = id
					delete(session, microsvc.KeyCorrelationID)
				}
				meta, _ := json.Marshal(session) // of strings there is no error
				e.attributes["sourcedmeta"] = string(meta)
				contentType, body, header := encode(e)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(body))
				if err != nil {
					return microsvctest.Answer{Err: err}
				}
				req.Header.Set("Content-Type", contentType)
				for name, value := range header {
					req.Header.Set(name, value)
				}
				resp, err := server.Client().Do(req)
				if err != nil {
					return microsvctest.Answer{Err: err}
				}
				answer, err := io.ReadAll(resp.Body)
				if err = errors.Join(err, resp.Body.Close()); err != nil {
					return microsvctest.Answer{Err: err}
				}
				return read(resp, string(answer), batch)
			}
		},
		Wants:  wants,
		Events: true,
	}
}

func read(resp *http.Response, body string, batch bool) microsvctest.Answer {
	got := microsvctest.Answer{Status: resp.StatusCode, Raw: body}
	if resp.StatusCode == http.StatusOK {
		got.Reply = body // a broker takes one for an event to publish
		return got
	}
	var f struct {
		Error, ID string
		Code      aggregate.Code
		Also      []aggregate.Code
		Events    []struct{ Error string }
	}
	err := json.Unmarshal([]byte(body), &f)
	if batch && len(f.Events) == 1 {
		f.Error = f.Events[0].Error
	}
	if err != nil || resp.Header.Get("Content-Type") != "application/json" || !batch && f.Events != nil {
		return microsvctest.Answer{Err: errors.Join(fmt.Errorf("%v %s", resp.Header, body), err)}
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	got.Problem = &microsvc.Problem{
		Status: resp.StatusCode, Code: f.Code, Also: f.Also, Message: f.Error, ID: f.ID, RetryAfter: time.Duration(seconds) * time.Second,
	}
	return got
}

// wants makes of an answer what a broker is to do: what would be a dead letter on a bus
// is 422, and what would be tried again 503. An id is that of one message, whoever sends
// it, as on a bus.
func wants(c *microsvctest.Case) {
	c.Reply, c.Other, c.Commanded = "", nil, true
	if c.Key != "" {
		c.ID = c.Key
	}
	switch c.Bus {
	case bus.DeadLettered, bus.Unhandled:
		c.Status = http.StatusUnprocessableEntity
	case bus.Retried:
		c.Status = http.StatusServiceUnavailable
	}
	if c.Bus == bus.Unhandled {
		c.Text = fmt.Sprintf("nothing handles %s %q", map[bool]string{true: "event", false: "command"}[c.Event], c.Command)
	}
	if c.Command == "" || len(c.Key) > 100 { // no CloudEvent
		c.Status, c.Code, c.Text, c.ID = http.StatusBadRequest, microsvc.CodeDecode, "", ""
	}
}
