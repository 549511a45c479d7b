package knativebus_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ceevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
)

func event(id, key string) envelope.Message {
	return envelope.Message{ID: id, Kind: envelope.KindEvent, Name: "happened", Key: key, Data: []byte(id), Time: time.Now()}
}

// publishOne returns what became of m.
func publishOne(t testing.TB, b *bus.Bus, m envelope.Message) error {
	t.Helper()
	return bus.PublishErrors(b.PublishBatch(within(t), []envelope.Message{m}), 1)[0]
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	shipped := full()
	ship := full()
	ship.ID, ship.Kind, ship.Name, ship.Key = "command-7", envelope.KindCommand, "order.ship", ""
	bare := envelope.Message{ID: "bare", Kind: envelope.KindEvent, Name: "order.shipped", Data: []byte{}}
	require.NoError(t, b.PublishBatch(within(t), []envelope.Message{shipped, ship, bare}))
	want := map[string]envelope.Message{shipped.ID: shipped, ship.ID: ship, bare.ID: bare}
	got := k.all()
	require.Len(t, got, 3)
	for _, p := range got {
		m := p.message(t)
		require.Equal(t, want[m.ID], m)
		path := "/default/orders-events"
		if m.Kind == envelope.KindCommand {
			path = "/default/shipping-commands"
		}
		require.Equal(t, path, p.path)
		require.Equal(t, []string{"orders", m.Name, m.Kind.String(), m.ContentType}, []string{
			p.event.Source(), p.event.Type(), p.event.Extensions()["sourcedkind"].(string), p.event.DataContentType(),
		})
		require.Equal(t, m.Time, p.event.Time())
		if m.ID != bare.ID {
			require.Equal(t, "conversation%201", p.header.Get("Ce-Correlationid"))
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	for status, want := range map[int][]error{
		200: nil, 202: nil, 204: nil,
		301: {bus.ErrUnavailable}, 307: {bus.ErrUnavailable},
		400: {bus.ErrRefused}, 405: {bus.ErrRefused}, 413: {bus.ErrRefused}, 415: {bus.ErrRefused}, 422: {bus.ErrRefused}, 431: {bus.ErrRefused},
		401: {bus.ErrUnauthorized, bus.ErrUnavailable}, 403: {bus.ErrUnauthorized, bus.ErrRefused},
		404: {bus.ErrUnavailable}, 408: {bus.ErrUnavailable}, 409: {bus.ErrUnavailable}, 425: {bus.ErrUnavailable}, 429: {bus.ErrUnavailable},
		500: {bus.ErrUnavailable}, 501: {bus.ErrUnavailable}, 502: {bus.ErrUnavailable}, 503: {bus.ErrUnavailable}, 504: {bus.ErrUnavailable},
	} {
		k.set(func() { k.answer = func(ceevent.Event) int { return status } })
		err := publishOne(t, b, event(fmt.Sprint("m-", status), ""))
		if want == nil {
			require.NoError(t, err, status)
			continue
		}
		for _, sentinel := range []error{bus.ErrRefused, bus.ErrUnavailable, bus.ErrUnauthorized, bus.ErrUnroutable, bus.ErrInvalid} {
			wanted := false
			for _, w := range want {
				wanted = wanted || errors.Is(w, sentinel)
			}
			require.Equal(t, wanted, errors.Is(err, sentinel), "%d: %v", status, sentinel)
		}
		require.Equal(t, errors.Is(err, bus.ErrRefused), bus.IsPermanent(err), status)
		var answer *knativebus.StatusError
		require.ErrorAs(t, err, &answer)
		require.Equal(t, knativebus.StatusError{
			MessageID: fmt.Sprint("m-", status), Broker: "orders-events", URL: k.URL + "/default/orders-events", Status: status, Said: "as ordered  by the test ",
		}, *answer)
	}
	k.set(func() { k.answer = func(ceevent.Event) int { return 404 } })
	require.ErrorContains(t, publishOne(t, b, event("m", "")), `broker "orders-events" at `+k.URL+`/default/orders-events answered 404 Not Found to message "m": there is no such broker (yet)`)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	elsewhere := httptest.NewServer(http.RedirectHandler(k.URL+"/default/orders-events", http.StatusTemporaryRedirect))
	defer elsewhere.Close()
	for name, client := range map[string]*http.Client{"own": nil, "given": {Transport: &http.Transport{DisableKeepAlives: true}}} {
		b := open(t, knativebus.Options{Ingress: elsewhere.URL + "/{broker}", Client: client})
		require.ErrorIs(t, publishOne(t, b, event("m", "")), bus.ErrUnavailable, name)
		require.Zero(t, k.posted(), name)
		require.True(t, client == nil || client.CheckRedirect == nil, "the caller's client stays as it is")
	}
}

func TestWhatNoCloudEventCanBe(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	for name, spoil := range map[string]func(*envelope.Message){
		"name with a space":       func(m *envelope.Message) { m.Name = "order shipped" },
		"name beyond ASCII":       func(m *envelope.Message) { m.Name = "bestellung.größer" },
		"name with a quote":       func(m *envelope.Message) { m.Name = `a"b` },
		"name with percent":       func(m *envelope.Message) { m.Name = "a%41" },
		"structured mode":         func(m *envelope.Message) { m.ContentType = "Application/CloudEvents+json; charset=utf-8" },
		"batch mode":              func(m *envelope.Message) { m.ContentType = "application/cloudevents-batch+json" },
		"no media type":           func(m *envelope.Message) { m.ContentType = "a b c" },
		"content type in Unicode": func(m *envelope.Message) { m.ContentType = "text/größe" },
		"content type with space": func(m *envelope.Message) { m.ContentType = " text/plain" },
		"noncharacter in id":      func(m *envelope.Message) { m.ID = "a\ufffeb" },
		"noncharacter in key":     func(m *envelope.Message) { m.Key = "a\U0001ffffb" },
		"noncharacter in cause":   func(m *envelope.Message) { m.Metadata.CausationID = "a\ufdd0b" },
		"late year":               func(m *envelope.Message) { m.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"command for nobody":      func(m *envelope.Message) { m.Kind = envelope.KindCommand },
		"command for no label":    func(m *envelope.Message) { m.Kind, m.Destination = envelope.KindCommand, "../orders" },
		"command for a long name": func(m *envelope.Message) { m.Kind, m.Destination = envelope.KindCommand, strings.Repeat("a", 55) },
	} {
		bad, good := event("bad", "k"), event("good", "other")
		spoil(&bad)
		errs := bus.PublishErrors(b.PublishBatch(within(t), []envelope.Message{bad, good}), 2)
		require.ErrorIs(t, errs[0], bus.ErrRefused, name)
		require.NotErrorIs(t, errs[0], bus.ErrInvalid, name)
		require.NoError(t, errs[1], name)
	}
}

// TestNothingInjectsHeaders calls the transport without what the bus checks.
func TestNothingInjectsHeaders(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := at(t, k)
	for name, spoil := range map[string]func(m *envelope.Message, evil string){
		"id":           func(m *envelope.Message, evil string) { m.ID = evil },
		"name":         func(m *envelope.Message, evil string) { m.Name = evil },
		"key":          func(m *envelope.Message, evil string) { m.Key = evil },
		"destination":  func(m *envelope.Message, evil string) { m.Destination = evil },
		"content type": func(m *envelope.Message, evil string) { m.ContentType = evil },
		"codec":        func(m *envelope.Message, evil string) { m.Codec = evil },
		"correlation":  func(m *envelope.Message, evil string) { m.Metadata.CorrelationID = evil },
		"value":        func(m *envelope.Message, evil string) { m.Metadata.Keys = map[string]string{"tenant": evil} },
		"metadata key": func(m *envelope.Message, evil string) { m.Metadata.Keys = map[string]string{evil: "v"} },
	} {
		for _, evil := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\x00b", "a\u0085b"} {
			m := event("m", "k")
			spoil(&m, evil)
			err := bus.PublishErrors(b.Transport().PublishBatch(within(t), []envelope.Message{m}), 1)[0]
			require.ErrorIs(t, err, bus.ErrInvalid, name)
		}
	}
	require.Zero(t, k.posted())
	require.NotContains(t, knativebus.HeaderValue("a\r\nX-Evil: 1"), "\n", "and even so")
}

func TestTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	b := open(t, knativebus.Options{Ingress: k.URL + "/{broker}", MaxMessageBytes: 1000})
	require.Equal(t, 1000, b.Features().MaxMessageBytes)
	big, small := event("big", "a"), event("small", "b")
	big.Data = make([]byte, 1000)
	for _, p := range []bus.Publisher{b, b.Transport()} {
		errs := bus.PublishErrors(p.PublishBatch(within(t), []envelope.Message{big, small}), 2)
		require.ErrorIs(t, errs[0], bus.ErrRefused)
		require.NoError(t, errs[1])
	}
}

func TestProducesOnly(t *testing.T) {
	t.Parallel()
	b := open(t, knativebus.Options{Namespace: "shop"})
	require.False(t, b.Features().Consumes || b.Features().DeadLetters || b.Features().OrderedPublish)
	require.Nil(t, b.DeadLetters())
	require.Equal(t, "shop.orders", b.Group())
	_, err := b.Transport().Listen(t.Context(), []string{"a"})
	require.ErrorIs(t, err, bus.ErrUnsupported)
	_, err = b.Transport().Subscribe(t.Context(), []string{"a"})
	require.ErrorIs(t, err, bus.ErrUnsupported)
	handlers := bus.NewHandlers().OnEvent("a", func(context.Context, *envelope.Message) error { return nil })
	require.ErrorIs(t, b.Run(t.Context(), handlers, bus.Idempotent()), bus.ErrUnsupported)
}

func TestBoundedAndInOrder(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	var now, most atomic.Int32
	var full sync.WaitGroup // the first three come together
	full.Add(3)
	var count atomic.Int32
	k.set(func() {
		k.before = func(*http.Request) error {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			if count.Add(1) <= 3 {
				full.Done()
				full.Wait()
			}
			now.Add(-1)
			return nil
		}
	})
	b := open(t, knativebus.Options{Ingress: k.URL + "/{broker}", MaxConcurrent: 3})
	var messages []envelope.Message
	for i := range 120 {
		messages = append(messages, event(fmt.Sprint(i), fmt.Sprint("key-", i%12)))
	}
	require.NoError(t, b.PublishBatch(within(t), messages))
	require.EqualValues(t, 3, most.Load())
	next := map[string]int{}
	for _, p := range k.all() {
		m := p.message(t)
		var n int
		_, err := fmt.Sscan(m.ID, &n)
		require.NoError(t, err)
		require.Equal(t, next[m.Key]*12+n%12, n)
		next[m.Key]++
	}
	require.Len(t, k.all(), 120)
}

func TestBrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	k := newKnative(t)
	k.set(func() {
		k.before = func(r *http.Request) error {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client leaves
			<-r.Context().Done()
			return r.Context().Err()
		}
	})
	b := open(t, knativebus.Options{Ingress: k.URL + "/{broker}", Timeout: 50 * time.Millisecond})
	err := publishOne(t, b, event("m", ""))
	require.ErrorIs(t, err, bus.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "that would be the caller's")
	require.ErrorContains(t, err, "no answer in time")

	b = at(t, k)
	gone := errors.New("gone home")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	before := k.posted()
	go func() { ended <- bus.PublishErrors(b.PublishBatch(ctx, []envelope.Message{event("m", "")}), 1)[0] }()
	require.Eventually(t, func() bool { return k.posted() > before }, 10*time.Second, time.Millisecond)
	cancel(gone)
	require.ErrorIs(t, <-ended, gone)

	go func() {
		ended <- bus.PublishErrors(b.PublishBatch(t.Context(), []envelope.Message{event("m", "")}), 1)[0]
	}()
	require.Eventually(t, func() bool { return k.posted() > before+1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-ended, bus.ErrClosed)
	require.ErrorIs(t, publishOne(t, b, event("m", "")), bus.ErrClosed)
	require.NoError(t, b.Close())
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	k := newKnative(t)
	var dials atomic.Int32
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if "http://"+addr == nobody {
			dials.Add(1)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	b := open(t, knativebus.Options{
		Brokers:       map[string]string{"orders-events": nobody, "shipping-commands": k.URL},
		Client:        &http.Client{Transport: transport},
		MaxConcurrent: 1,
	})
	ship := event("ship", "")
	ship.Kind, ship.Destination = envelope.KindCommand, "shipping"
	other := ship
	other.ID, other.Destination = "other", "billing"
	errs := bus.PublishErrors(b.PublishBatch(within(t), []envelope.Message{event("a", ""), event("b", ""), ship, other}), 4)
	require.ErrorIs(t, errs[0], bus.ErrUnavailable)
	require.ErrorIs(t, errs[1], bus.ErrUnavailable)
	require.EqualValues(t, 1, dials.Load(), "one has tried")
	require.NoError(t, errs[2], "another broker is there")
	require.ErrorIs(t, errs[3], bus.ErrUnavailable)
	require.ErrorContains(t, errs[3], `broker "billing-commands" is not in Options.Brokers`)
	errs = bus.PublishErrors(b.PublishBatch(within(t), []envelope.Message{event("a", "")}), 1)
	require.ErrorIs(t, errs[0], bus.ErrUnavailable)
	require.EqualValues(t, 2, dials.Load(), "the next call tries again")
}

func TestAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		for chunk := make([]byte, 4096); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	b := open(t, knativebus.Options{Ingress: endless.URL + "/{broker}"})
	require.NoError(t, publishOne(t, b, event("m", "")))
}

func TestOwnClient(t *testing.T) {
	t.Parallel()
	seen := make(chan *tls.ConnectionState, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.TLS }))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it will hear of a bad certificate
	server.StartTLS()
	require.ErrorIs(t, publishOne(t, open(t, knativebus.Options{Ingress: server.URL + "/{broker}"}), event("m", "")), bus.ErrUnavailable, "an unknown authority")
	b := open(t, knativebus.Options{Ingress: server.URL + "/{broker}", Client: server.Client()})
	require.NoError(t, publishOne(t, b, event("m", "")))
	require.NotNil(t, <-seen)
}

func TestWrongOptionsAreErrors(t *testing.T) {
	t.Parallel()
	for text, o := range map[string]knativebus.Options{
		`option Service ""`:                           {},
		`option Service "Orders"`:                     {Service: "Orders"},
		`option Service "-a"`:                         {Service: "-a"},
		`has 55 bytes`:                                {Service: strings.Repeat("a", 55)},
		`option Namespace "a.b"`:                      {Service: "a", Namespace: "a.b"},
		`has no {broker}`:                             {Service: "a", Ingress: "http://x/{namespace}"},
		`option Ingress "x/broker"`:                   {Service: "a", Ingress: "x/{broker}"},
		`option Ingress "ftp://u:xxxxx@x/broker"`:     {Service: "a", Ingress: "ftp://u:secret@x/{broker}"},
		`option Ingress ""`:                           {Service: "a", Ingress: "http://u:secret@x:y/{broker}"},
		`option Ingress "http://x/#broker"`:           {Service: "a", Ingress: "http://x/#{broker}"},
		`option Brokers "B"`:                          {Service: "a", Brokers: map[string]string{"B": "http://x"}},
		`option Brokers b-events "x"`:                 {Service: "a", Brokers: map[string]string{"b-events": "x"}},
		`option Timeout "-1ns"`:                       {Service: "a", Timeout: -1},
		`option ConnectTimeout "-1ns"`:                {Service: "a", ConnectTimeout: -1},
		`option MaxConcurrent "1025": want 0 to 1024`: {Service: "a", MaxConcurrent: 1025},
		`option MaxMessageBytes "-1": is negative`:    {Service: "a", MaxMessageBytes: -1},
	} {
		_, err := knativebus.New(o)
		require.ErrorIs(t, err, bus.ErrInvalid)
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "secret")
	}
}
