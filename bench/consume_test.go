package bench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
)

const (
	consumed     = 30_000 // messages per side and round
	consumedName = "account.deposited"
	consumeGroup = "g"

	// As RunOptions has them by default.
	consumeWorkers  = 16
	consumePrefetch = 256
)

// consumers are the transports of BenchmarkConsume. Each says how to connect a
// bus of a namespace, and how a bare client handles what that bus's group has
// to: it calls handled for each message, and returns when ctx has ended.
var consumers = []struct {
	name string
	open func(b *testing.B) (connect func(namespace string) (*bus.Bus, error), bare bareConsumer)
}{
	{"pgbus", consumePostgres},
	{"natsbus", consumeNATS},
	{"rabbitbus", consumeRabbit},
	{"kafkabus", consumeKafka},
}

type bareConsumer func(ctx context.Context, namespace string, handled func()) error

// BenchmarkConsume is Bus.Subscribe with a handler that decodes the payload,
// beside a bare client of the same broker that decodes payload and headers,
// hands messages to as many goroutines and acknowledges them the same way, from
// a queue, consumer or offset that is made the same. Both have their messages
// published before.
func BenchmarkConsume(b *testing.B) {
	for _, c := range consumers {
		b.Run("transport="+c.name, func(b *testing.B) {
			connect, bare := c.open(b)
			sides := 0
			// A namespace of its own for each side and round: nothing is warm.
			side := func(run func(ctx context.Context, on *bus.Bus, namespace string, handled func()) error) func() figures {
				return func() figures {
					sides++
					namespace := fmt.Sprintf("bench%d-%d", time.Now().UnixNano(), sides)
					on, err := connect(namespace)
					if err != nil {
						b.Fatal(err)
					}
					defer func() {
						if err := on.Close(); err != nil {
							b.Fatal(err)
						}
					}()
					publishForConsumers(b, on)
					return timeConsumer(b, func(ctx context.Context, handled func()) error { return run(ctx, on, namespace, handled) })
				}
			}
			framework := side(func(ctx context.Context, on *bus.Bus, _ string, handled func()) error {
				handlers := bus.NewHandlers().OnEvent(consumedName, bus.Typed(nil, func(_ context.Context, e account.AccountDeposited, _ *envelope.Message) error {
					if e.Amount != 1 {
						return fmt.Errorf("the amount is %d", e.Amount)
					}
					handled()
					return nil
				}))
				return on.Subscribe(ctx, handlers, bus.RunOptions{Logger: quiet})
			})
			compareThroughput(b, framework, side(func(ctx context.Context, _ *bus.Bus, namespace string, handled func()) error {
				return bare(ctx, namespace, handled)
			}))
		})
	}
}

// timeConsumer measures from the start of run until all messages were handled.
func timeConsumer(b *testing.B, run func(ctx context.Context, handled func()) error) figures {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var left atomic.Int64
	left.Store(consumed)
	all := make(chan struct{})
	ended := make(chan error, 1)
	begun := time.Now()
	go func() {
		ended <- run(ctx, func() {
			if left.Add(-1) == 0 {
				close(all)
			}
		})
	}()
	select {
	case <-all:
	case err := <-ended:
		b.Fatalf("ended with %d messages left: %v", left.Load(), err)
	case <-time.After(2 * time.Minute):
		b.Fatalf("%d messages left after two minutes", left.Load())
	}
	took := time.Since(begun)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return figures{perSecond: consumed / took.Seconds()}
}

// publishForConsumers has the group subscribe, and then publishes: messages of
// 1,000 keys, as an outbox publishes them.
func publishForConsumers(b *testing.B, on *bus.Bus) {
	b.Helper()
	source, err := on.Transport().Subscribe(b.Context(), []string{consumedName})
	if err == nil {
		err = source.Close(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	for from := 0; from < consumed; from += 1000 {
		var messages []envelope.Message
		for i := from; i < from+1000; i++ {
			id := accountID(i % 1000)
			m, err := bus.NewEvent(consumedName, event(id, 1), bus.WithID(fmt.Sprint(id, ":", i)))
			if err != nil {
				b.Fatal(err)
			}
			m.Source, m.SourceVersion = envelope.Stream{Type: "account", ID: id}, uint64(i/1000+1)
			m.Metadata.Set(envelope.KeyCorrelationID, "conversation-"+id)
			m.Metadata.Set(envelope.KeyCausationID, "command-"+id)
			messages = append(messages, m)
		}
		if err := on.PublishBatch(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
	}
}

// bareMessage is what a bare client makes of a message.
type bareMessage struct {
	id, name, contentType, codec    string
	sourceType, sourceID            string
	sourceVersion                   uint64
	correlationID, causationID, key string
	time                            time.Time
	payload                         account.AccountDeposited
}

// header reads one header.
func (m *bareMessage) header(key, value string) (err error) {
	switch strings.ToLower(key) {
	case bus.HeaderCodec:
		m.codec = value
	case bus.HeaderSourceType:
		m.sourceType = value
	case bus.HeaderSourceID:
		m.sourceID = value
	case bus.HeaderSourceSeq:
		m.sourceVersion, err = strconv.ParseUint(value, 10, 64)
	case bus.HeaderKey:
		m.key = value
	case bus.HeaderTime:
		m.time, err = time.Parse(time.RFC3339Nano, value)
	case envelope.KeyCorrelationID:
		m.correlationID = value
	case envelope.KeyCausationID:
		m.causationID = value
	}
	return err
}

func (m *bareMessage) handle(data []byte, handled func()) error {
	if err := envelope.JSON.Decode(data, &m.payload); err != nil {
		return err
	}
	if m.payload.Amount != 1 || m.sourceID != m.payload.Account || m.correlationID == "" {
		return fmt.Errorf("message %q came as %+v", m.id, m)
	}
	handled()
	return nil
}

// bareWorkers are goroutines that handle what comes, until from is closed. The
// error of the first that fails is in failed; the others go on.
type bareWorkers struct {
	running sync.WaitGroup
	failed  atomic.Pointer[error]
}

func startBareWorkers[T any](from <-chan T, handle func(T) error) *bareWorkers {
	w := &bareWorkers{}
	for range consumeWorkers {
		w.running.Go(func() {
			for one := range from {
				if err := handle(one); err != nil {
					w.failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	return w
}

func (w *bareWorkers) wait() error {
	w.running.Wait()
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// --- PostgreSQL

// consumePostgres: the bare side selects pages behind its offset, and updates
// the offset when a page was handled, while the next one is read.
func consumePostgres(b *testing.B) (func(string) (*bus.Bus, error), bareConsumer) {
	b.Helper()
	url, schema := pgSchema(b)
	if err := pgbus.Migrate(b.Context(), url, pgbus.Options{Schema: schema, Logger: quiet}); err != nil {
		b.Fatal(err)
	}
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	connect := func(namespace string) (*bus.Bus, error) {
		return pgbus.Connect(context.Background(), url, pgbus.Options{Group: consumeGroup, Namespace: namespace, Schema: schema, Logger: quiet})
	}
	return connect, func(ctx context.Context, namespace string, handled func()) error {
		type row struct {
			*bareMessage
			data     []byte
			metadata *string
			page     *sync.WaitGroup
		}
		rows := make(chan row, consumePrefetch)
		workers := startBareWorkers(rows, func(r row) error {
			defer r.page.Done()
			if r.metadata != nil {
				var m envelope.Metadata
				if err := m.UnmarshalJSON([]byte(*r.metadata)); err != nil {
					return err
				}
				r.correlationID, r.causationID = m.CorrelationID, m.CausationID
			}
			return r.handle(r.data, handled)
		})
		pages := make(chan func() error, 1)
		offsets := make(chan error, 1)
		go func() {
			var failed error
			for handled := range pages {
				if err := handled(); err != nil && failed == nil {
					failed = err
				}
			}
			offsets <- failed
		}()
		query := "SELECT position, name, message, destination, key, content_type, codec, data, time, source_type, source_id, source_version, metadata FROM " + schema +
			".bus_log WHERE namespace = $1 AND position > $2 AND name = ANY ($3) ORDER BY position LIMIT $4"
		update := "UPDATE " + schema + ".bus_offset SET position = $3 WHERE namespace = $1 AND grp = $2"
		read := func(last int64) (int64, error) {
			found, err := pool.Query(ctx, query, namespace, last, []string{consumedName}, consumePrefetch)
			if err != nil {
				return last, err
			}
			page, err := pgx.CollectRows(found, func(from pgx.CollectableRow) (row, error) {
				r := row{bareMessage: &bareMessage{}, page: &sync.WaitGroup{}}
				var destination string
				var version int64
				err := from.Scan(&last, &r.name, &r.id, &destination, &r.key, &r.contentType, &r.codec, &r.data, &r.time, &r.sourceType, &r.sourceID, &version, &r.metadata)
				r.sourceVersion = uint64(version)
				return r, err
			})
			if err != nil || len(page) == 0 {
				return last, err
			}
			all := &sync.WaitGroup{}
			all.Add(len(page))
			for _, r := range page {
				r.page = all
				rows <- r
			}
			pages <- func() error {
				all.Wait()
				_, err := pool.Exec(context.Background(), update, namespace, consumeGroup, last)
				return err
			}
			return last, nil
		}
		var err error
		for last := int64(0); ctx.Err() == nil && err == nil; {
			last, err = read(last)
		}
		close(rows)
		close(pages)
		if ctx.Err() != nil {
			err = nil
		}
		for _, other := range []error{workers.wait(), <-offsets} {
			if err == nil {
				err = other
			}
		}
		return err
	}
}

// --- NATS

// consumeNATS: the bare side is Consume of the driver's jetstream package.
func consumeNATS(b *testing.B) (func(string) (*bus.Bus, error), bareConsumer) {
	b.Helper()
	url := serverOf(b, "TROUPE_NATS_URL")
	conn, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	stream := func(namespace string) string { return strings.ReplaceAll(strings.ToUpper(namespace), "-", "_") }
	connect := func(namespace string) (*bus.Bus, error) {
		b.Cleanup(func() { _ = js.DeleteStream(context.Background(), stream(namespace)) }) // if it was made
		return natsbus.Connect(context.Background(), url, natsbus.Options{
			Group: consumeGroup, Namespace: namespace, Stream: natsbus.Limits{MaxBytes: 64 << 20}, Logger: quiet,
		})
	}
	return connect, func(ctx context.Context, namespace string, handled func()) error {
		consumer, err := js.Consumer(ctx, stream(namespace), consumeGroup+"_evt")
		if err != nil {
			return err
		}
		messages := make(chan jetstream.Msg, consumePrefetch)
		workers := startBareWorkers(messages, func(msg jetstream.Msg) error {
			m := &bareMessage{name: strings.TrimPrefix(msg.Subject(), namespace+".evt.")}
			for key, values := range msg.Headers() {
				switch key {
				case "Nats-Msg-Id":
					m.id = values[0]
				case "Content-Type":
					m.contentType = values[0]
				default:
					if err := m.header(key, values[0]); err != nil {
						return err
					}
				}
			}
			if err := m.handle(msg.Data(), handled); err != nil {
				return err
			}
			return msg.Ack()
		})
		consuming, err := consumer.Consume(func(msg jetstream.Msg) { messages <- msg }, jetstream.PullMaxMessages(consumePrefetch))
		if err == nil {
			<-ctx.Done()
			consuming.Stop()
			<-consuming.Closed()
		}
		close(messages)
		if failed := workers.wait(); err == nil {
			err = failed
		}
		return err
	}
}

// --- RabbitMQ

// consumeRabbit: the bare side is Consume of the driver, with Qos.
func consumeRabbit(b *testing.B) (func(string) (*bus.Bus, error), bareConsumer) {
	b.Helper()
	url := serverOf(b, "TROUPE_RABBITMQ_URL")
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() }) // all was acknowledged
	queue := func(namespace string) string { return namespace + ".evt." + consumeGroup }
	connect := func(namespace string) (*bus.Bus, error) {
		b.Cleanup(func() {
			ch, err := conn.Channel()
			if err == nil {
				_, err = ch.QueueDelete(queue(namespace), false, false, false)
			}
			if err == nil {
				_, err = ch.QueueDelete(namespace+".dead", false, false, false)
			}
			for _, exchange := range []string{namespace + ".events", queue(namespace) + ".again"} {
				if err == nil {
					err = ch.ExchangeDelete(exchange, false, false)
				}
			}
			if err != nil {
				b.Error(err)
			}
		})
		return rabbitbus.Connect(context.Background(), url, rabbitbus.Options{Group: consumeGroup, Namespace: namespace, Logger: quiet})
	}
	return connect, func(ctx context.Context, namespace string, handled func()) error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		if err := ch.Qos(consumePrefetch, 0, false); err != nil {
			return err
		}
		messages, err := ch.Consume(queue(namespace), "bare", false, false, false, false, nil)
		if err != nil {
			return err
		}
		workers := startBareWorkers(messages, func(d amqp.Delivery) error {
			m := &bareMessage{id: d.MessageId, name: d.RoutingKey, contentType: d.ContentType}
			for key, value := range d.Headers {
				text, _ := value.(string)
				if err := m.header(key, text); err != nil {
					return err
				}
			}
			if err := m.handle(d.Body, handled); err != nil {
				return err
			}
			return ch.Ack(d.DeliveryTag, false)
		})
		<-ctx.Done()
		if err := ch.Cancel("bare", false); err != nil { // the driver ends the messages
			return err
		}
		if err := workers.wait(); err != nil {
			return err
		}
		return ch.Close()
	}
}

// --- Kafka

// consumeKafka: the bare side polls as a member of the group, and marks what was
// handled; the driver commits the marks as often as the bus does.
func consumeKafka(b *testing.B) (func(string) (*bus.Bus, error), bareConsumer) {
	b.Helper()
	brokers := serverOf(b, "TROUPE_KAFKA_BROKERS")
	connect := func(namespace string) (*bus.Bus, error) {
		b.Cleanup(func() {
			client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
			if err != nil {
				b.Error(err)
				return
			}
			defer client.Close()
			_, err = kadm.NewClient(client).DeleteTopics(context.Background(), namespace+".evt."+consumedName, namespace+".again."+consumeGroup+".evt")
			if err != nil {
				b.Error(err)
			}
		})
		return kafkabus.Connect(context.Background(), brokers, kafkabus.Options{Group: consumeGroup, Namespace: namespace, Logger: quiet})
	}
	return connect, func(ctx context.Context, namespace string, handled func()) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumerGroup(namespace+"."+consumeGroup+".evt"), kgo.ConsumeTopics(namespace+".evt."+consumedName),
			kgo.AutoCommitMarks(), kgo.AutoCommitInterval(100*time.Millisecond), kgo.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return err
		}
		defer client.Close()
		records := make(chan *kgo.Record, consumePrefetch)
		workers := startBareWorkers(records, func(r *kgo.Record) error {
			m := &bareMessage{name: strings.TrimPrefix(r.Topic, namespace+".evt.")}
			for _, h := range r.Headers {
				switch h.Key {
				case bus.HeaderID:
					m.id = string(h.Value)
				case bus.HeaderContentType:
					m.contentType = string(h.Value)
				default:
					if err := m.header(h.Key, string(h.Value)); err != nil {
						return err
					}
				}
			}
			if err := m.handle(r.Value, handled); err != nil {
				return err
			}
			client.MarkCommitRecords(r)
			return nil
		})
		for ctx.Err() == nil && err == nil {
			fetches := client.PollRecords(ctx, consumePrefetch)
			if ctx.Err() == nil {
				err = fetches.Err()
			}
			fetches.EachRecord(func(r *kgo.Record) { records <- r })
		}
		close(records)
		if failed := workers.wait(); err == nil {
			err = failed
		}
		return err
	}
}

// serverOf is the address that a variable has, as scripts/services.sh sets it.
func serverOf(b *testing.B, variable string) string {
	b.Helper()
	url := os.Getenv(variable)
	if url == "" {
		b.Skipf("set %s to run this benchmark: eval \"$(scripts/services.sh up)\"", variable)
	}
	return url
}
