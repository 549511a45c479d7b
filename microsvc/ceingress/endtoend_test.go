package ceingress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/knativebus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/ceingress"
	"github.com/troupe-go/troupe/outbox"
)

// ledger is an aggregate of either service: lines of text.
type ledger struct {
	aggregate.Root
	Lines int
}

type line struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

func (l line) AggregateID() string { return l.ID }

var (
	written = aggregate.On("written", func(l *ledger, _ line) { l.Lines++ })
	ledgers = aggregate.Define("ledger", written)
	place   = aggregate.NewCommand("order.place", func(c *aggregate.Context, l *ledger, in line) (int, error) {
		c.Publish("order.placed", line{"events", in.Text})
		c.Send("shipping", "shipping.ship", line{in.ID, in.Text})
		return l.Lines, written.Record(l, in)
	})
	ship = aggregate.NewCommand("shipping.ship", func(_ *aggregate.Context, l *ledger, in line) (int, error) {
		return l.Lines, written.Record(l, in)
	})
)

// host hosts ledgers on a journal of their own.
func host(t testing.TB) (*actor.Aggregates[ledger], journal.Journal) {
	t.Helper()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, &actor.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	aggregates, err := actor.Host(system, ledgers, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, system.Stop(context.Background()))
		require.NoError(t, j.Close())
	})
	return aggregates, j
}

func records(t testing.TB, j journal.Journal, id string) (all []envelope.Record) {
	t.Helper()
	for rec, err := range j.Load(context.Background(), ledgers.Stream(id), 0) {
		require.NoError(t, err)
		all = append(all, rec)
	}
	return all
}

// broker does what the brokers and triggers of manifests do, at least once: it
// delivers each event twice to the subscriber of each trigger whose filter fits,
// again while that answers 503, and loses its first confirmation of each.
type broker struct {
	subscriber string
	client     *http.Client
	triggers   []trigger

	mu     sync.Mutex
	posts  map[string]int // by id and type
	faults []string
}

type trigger struct {
	Kind string
	Spec struct {
		Broker     string
		Filter     struct{ Attributes map[string]string }
		Subscriber struct{ URI string }
	}
}

func (b *broker) fault(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, text)
}

func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.fault(err.Error())
	}
	r.Header.Set("Ce-Knativearrivaltime", time.Now().UTC().Format(time.RFC3339Nano))
	id := r.Header.Get("Ce-Type") + " " + r.Header.Get("Ce-Id")
	wanted := 0
	for _, t := range b.triggers {
		if t.Kind != "Trigger" || !strings.HasSuffix(r.URL.Path, "/"+t.Spec.Broker) || t.Spec.Filter.Attributes["type"] != r.Header.Get("Ce-Type") {
			continue
		}
		wanted++
		for range 2 {
			if status := b.deliver(r, t.Spec.Subscriber.URI, body); status != http.StatusOK {
				b.fault(fmt.Sprint(id, " answered ", status))
			}
		}
	}
	if wanted != 1 {
		b.fault(fmt.Sprint(id, " is wanted by ", wanted, " triggers"))
	}
	b.mu.Lock()
	b.posts[id]++
	first := b.posts[id] == 1
	b.mu.Unlock()
	if first {
		http.Error(w, "the channel did not answer", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (b *broker) deliver(r *http.Request, path string, body []byte) (status int) {
	for range 100 {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, b.subscriber+path, bytes.NewReader(body))
		if err != nil {
			return 0
		}
		req.Header = r.Header.Clone()
		resp, err := b.client.Do(req)
		if err != nil {
			return 0
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return resp.StatusCode
		}
	}
	return http.StatusServiceUnavailable
}

// TestFromACommandToAnotherService: a command's event and command leave by the
// outbox, pass the triggers that are rendered for the other service, and have one
// effect each there, with the conversation and the caller.
func TestFromACommandToAnotherService(t *testing.T) {
	t.Parallel()
	parcels, shippingJournal := host(t)
	svc, run := quiet(bus.Inbox(shippingJournal))
	var mu sync.Mutex
	runs := map[string]int{}
	svc.Use(func(next microsvc.HandlerFunc) microsvc.HandlerFunc {
		return func(c *microsvc.Context) (any, error) {
			mu.Lock()
			runs[c.Message().ID]++
			run := runs[c.Message().ID]
			mu.Unlock()
			if run == 1 {
				return nil, errors.New("before the commit: 503")
			}
			reply, err := next(c)
			if run == 2 && err == nil {
				return nil, errors.New("behind the commit: 503, too")
			}
			return reply, err
		}
	}).Register(
		microsvc.Expose(ship, parcels),
		microsvc.On("order.placed", func(c *microsvc.Context, in line) error {
			user, err := c.UserID()
			if err != nil {
				return err
			}
			_, err = ship.Ask(c, parcels, line{in.ID, in.Text + " by " + user})
			return err
		}))
	subscriber := serve(t, svc, run, nil)

	plan, err := svc.Plan()
	require.NoError(t, err)
	manifests, err := knativebus.Manifests(knativebus.ManifestOptions{Service: "shipping", Producers: map[string]string{"order.placed": "orders"}}, plan)
	require.NoError(t, err)
	b := &broker{subscriber: subscriber.URL, client: subscriber.Client(), posts: map[string]int{}}
	for dec := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var next trigger
		if err := dec.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		b.triggers = append(b.triggers, next)
	}
	require.Len(t, b.triggers, 3)
	knative := httptest.NewServer(b)
	t.Cleanup(knative.Close)

	orders, ordersJournal := host(t)
	out, err := knativebus.New(knativebus.Options{Service: "orders", Ingress: knative.URL + "/{namespace}/{broker}"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, out.Close()) })
	d, err := outbox.New(ordersJournal, out, &outbox.Options{
		Logger: slog.New(slog.DiscardHandler), MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()

	const n = 20
	for i := range n {
		_, err := place.Ask(t.Context(), orders, line{fmt.Sprint("order-", i), "tea"}, aggregate.WithMetadata(envelope.Metadata{
			CorrelationID: fmt.Sprint("conversation-", i), Keys: map[string]string{microsvc.KeyUserID: fmt.Sprint("user-", i), "internal": "stays"},
		}))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		figures, err := ordersJournal.Outbox().Figures(t.Context())
		return err == nil && figures.Pending == 0
	}, 30*time.Second, 5*time.Millisecond)
	figures, err := ordersJournal.Outbox().Figures(t.Context())
	require.NoError(t, err)
	require.Zero(t, figures.Parked)
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.faults)
	require.Len(t, b.posts, 2*n)
	for i := range n {
		all := records(t, shippingJournal, fmt.Sprint("order-", i))
		require.Len(t, all, 1, "one effect")
		require.Equal(t, fmt.Sprint("conversation-", i), all[0].Metadata.CorrelationID)
		require.Equal(t, map[string]string{microsvc.KeyUserID: fmt.Sprint("user-", i)}, all[0].Metadata.Keys, "what is not in the allow-list does not come in")
	}
	texts := map[string]bool{}
	for _, rec := range records(t, shippingJournal, "events") {
		texts[string(rec.Data)] = true
	}
	require.Len(t, texts, n)
	require.Len(t, records(t, shippingJournal, "events"), n, "one effect")
	require.True(t, texts[`{"id":"events","text":"tea by user-3"}`])
	mu.Lock()
	defer mu.Unlock()
	for id, n := range runs {
		require.Equal(t, 3, n, "runs of %s", id)
	}
}

// TestRepeatsHaveOneEffect: by the inbox for any handler, and by the message's id
// for an exposed command.
func TestRepeatsHaveOneEffect(t *testing.T) {
	t.Parallel()
	for name, inbox := range map[string]bool{"inbox": true, "idempotent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parcels, j := host(t)
			run := bus.Idempotent()
			if inbox {
				run = bus.Inbox(j)
			}
			svc, run := quiet(run)
			ran := 0
			svc.Register(microsvc.Expose(ship, parcels), microsvc.On("note", func(*microsvc.Context, any) error {
				ran++
				return nil
			}))
			var counters bus.Counters
			run.Observe = counters.Observe
			server := serve(t, svc, run, nil)
			var senders sync.WaitGroup
			statuses := make([]int, 8)
			for i := range statuses {
				senders.Go(func() {
					for attempt := 0; attempt < 100 && statuses[i] != 200; attempt++ {
						answer, _ := try(server, "/", `{"id":"1","text":"tea"}`, ce("c-1", "shipping.ship", "Ce-Sourcedkind", "command")...)
						statuses[i] = answer.status
					}
				})
			}
			senders.Wait()
			require.Equal(t, []int{200, 200, 200, 200, 200, 200, 200, 200}, statuses)
			require.Len(t, records(t, j, "1"), 1)
			for range 3 {
				require.Equal(t, 200, post(t, server, "/", `{}`, ce("e-1", "note", "Ce-Sourcedkind", "event")...).status)
			}
			require.Equal(t, inbox, ran == 1, "%d runs", ran)
			// Twice in one batch.
			require.Equal(t, 200, post(t, server, "/", `[`+
				`{"specversion":"1.0","id":"b","source":"s","type":"note","sourcedkind":"event","partitionkey":"k","data":1},`+
				`{"specversion":"1.0","id":"b","source":"s","type":"note","sourcedkind":"event","partitionkey":"k","data":1}]`, "Content-Type", batchJSON).status)
			if inbox {
				require.Equal(t, 2, ran)
				require.Positive(t, counters.Count(bus.Duplicate))
				_, done, err := j.MessageReceipt(t.Context(), "shipping", "e-1")
				require.NoError(t, err)
				require.True(t, done, "the consumer is the service")
			}
			// Two strangers may have the same id.
			require.Equal(t, 200, post(t, server, "/", `{}`, "Ce-Specversion", "1.0", "Ce-Source", "a", "Ce-Id", "7", "Ce-Type", "note").status)
			before := ran
			require.Equal(t, 200, post(t, server, "/", `{}`, "Ce-Specversion", "1.0", "Ce-Source", "b", "Ce-Id", "7", "Ce-Type", "note").status)
			require.Equal(t, before+1, ran)
		})
	}
}

// TestAnInboxThatIsAway is a 503, and nothing is begun.
func TestAnInboxThatIsAway(t *testing.T) {
	t.Parallel()
	_, j := host(t)
	svc, run := quiet(bus.Inbox(j))
	got := &seen{}
	svc.Event("a", func(c *microsvc.Context) error { got.note(c); return nil })
	server := serve(t, svc, run, &ceingress.Options{})
	require.NoError(t, j.Close())
	answer := post(t, server, "/", "", ce("1", "a")...)
	require.Equal(t, 503, answer.status, answer.body)
	require.Empty(t, got.all())
}
