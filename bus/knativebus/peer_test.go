package knativebus_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cebinding "github.com/cloudevents/sdk-go/v2/binding"
	ceevent "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// posted is one event that an ingress accepted.
type posted struct {
	path   string
	header http.Header
	event  ceevent.Event
	body   []byte
}

// knative does what a real ingress, its channel and its filter were seen to do:
// it reads requests with the SDK that Knative is made of, answers 202 whether
// somebody wants the event or not and 500 while the channel is down, adds
// ce-knativearrivaltime, and delivers to the subscriber again on 503, with the
// same id.
type knative struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	down    bool                        // the channel is
	answer  func(ceevent.Event) int     // instead of 202, if not 0
	types   map[string]string           // type → URL of the subscriber that wants it
	got     []posted                    // what was accepted, in order
	posts   int                         // all there were
	faults  []string                    // what no CloudEvent may be
	arrived chan struct{}               // has room for one: something was accepted
	deliver func(posted, string)        // to a subscriber
	before  func(r *http.Request) error // before anything is read
}

func newKnative(t testing.TB) *knative {
	k := &knative{t: t, types: map[string]string{}, arrived: make(chan struct{}, 1)}
	k.Server = httptest.NewServer(k)
	t.Cleanup(func() {
		k.Close()
		k.mu.Lock()
		defer k.mu.Unlock()
		require.Empty(t, k.faults)
	})
	return k
}

func (k *knative) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	before := k.before
	k.posts++
	k.mu.Unlock()
	if before != nil {
		if err := before(r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	message := cehttp.NewMessage(r.Header, io.NopCloser(bytes.NewReader(body)))
	event, err := cebinding.ToEvent(r.Context(), message)
	if err == nil {
		err = event.Validate()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.faults = append(k.faults, err.Error())
	case message.ReadEncoding() != cebinding.EncodingBinary || event.SpecVersion() != "1.0" || r.Method != http.MethodPost:
		k.faults = append(k.faults, "not posted in binary mode, version 1.0")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for name := range event.Extensions() {
		if len(name) > 20 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			k.faults = append(k.faults, "attribute "+name)
		}
	}
	for name, values := range r.Header {
		if len(values) > 1 || strings.ContainsFunc(values[0], func(c rune) bool { return c < 0x20 || c > 0x7e }) {
			k.faults = append(k.faults, "header "+name)
		}
	}
	if k.down {
		http.Error(w, "channel is down", http.StatusInternalServerError)
		return
	}
	if k.answer != nil {
		if status := k.answer(*event); status != 0 {
			http.Error(w, "as ordered\r\nby the test", status)
			return
		}
	}
	event.SetExtension("knativearrivaltime", time.Now().UTC().Format(time.RFC3339Nano))
	p := posted{path: r.URL.Path, header: r.Header.Clone(), event: *event, body: body}
	p.header.Set("Ce-Knativearrivaltime", time.Now().UTC().Format(time.RFC3339Nano))
	k.got = append(k.got, p)
	if to := k.types[event.Type()]; to != "" && k.deliver != nil {
		go k.deliver(p, to)
	}
	select {
	case k.arrived <- struct{}{}:
	default:
	}
	w.WriteHeader(http.StatusAccepted)
}

func (k *knative) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *knative) all() []posted {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.got)
}

func (k *knative) posted() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.posts
}

// until waits for so many events.
func (k *knative) until(n int) []posted {
	k.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if all := k.all(); len(all) >= n {
			return all
		}
		select {
		case <-k.arrived:
		case <-deadline:
			require.FailNow(k.t, "waited too long", "%d of %d events", len(k.all()), n)
		}
	}
}

// message is what a receiver makes of p.
func (p *posted) message(t testing.TB) envelope.Message {
	t.Helper()
	m := envelope.Message{Data: p.body}
	require.NoError(t, knativebus.SetAttributes(&m, knativebus.HeaderAttributes(p.header)))
	require.NoError(t, m.Validate())
	return m
}

func open(t testing.TB, opts knativebus.Options) *bus.Bus {
	t.Helper()
	if opts.Service == "" {
		opts.Service = "orders"
	}
	b, err := knativebus.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// at is a bus on k.
func at(t testing.TB, k *knative) *bus.Bus {
	return open(t, knativebus.Options{Ingress: k.URL + "/{namespace}/{broker}"})
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// full is a message with everything.
func full() envelope.Message {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return envelope.Message{
		ID: "order-1:order.shipped:7 – ü/:*>%41", Kind: envelope.KindEvent, Name: "order.shipped", Key: "customer 日本/1",
		ContentType: "application/x-test; charset=utf-8", Codec: "test-1", Data: all, Destination: "shipping",
		Time:   time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC),
		Source: envelope.Stream{Type: "order", ID: "order-1"}, SourceVersion: 7,
		Metadata: envelope.Metadata{
			CorrelationID: "conversation 1", CausationID: "cause:1", CommandID: "command-1",
			Keys: map[string]string{
				"tenant": "acme", "Empty": "", "empty": "", "traceparent": "00-1-2-01", "note_1": "größe, 100 % \"quoted\" = ✓ 🎉", "note1": "other",
				"tab": "a\tb", "nonchar": "\ufffe", "correlationid": "mine", "correlation-id": "mine, too", "id": "i", "type": "t", "data": "d", "partitionkey": "p",
				"sourcedkey": "s", "sourcedmeta": "{}", "knativearrivaltime": "never", "Tenant": "ACME", "quoted": `"all"`, "encoded": "%41",
				"a-very-long-key-of-more-than-twenty": "x", strings.Repeat("k", 21): "y", "!#$%&'*+-.^_`|~": "z", "datacontenttype": "dc", "time": "now",
			},
		},
	}
}
