//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/bus/kafkabus"
	"github.com/troupe-go/troupe/bus/natsbus"
	"github.com/troupe-go/troupe/bus/pgbus"
	"github.com/troupe-go/troupe/bus/rabbitbus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/journal/sqlite"
	"github.com/troupe-go/troupe/outbox"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{"producer": produce, "dispatcher": dispatch, "consumer": consume, "service": serve})
	os.Exit(m.Run())
}

var quiet = slog.New(slog.DiscardHandler)

// openJournal opens what is named "bolt PATH", "sqlite PATH" or "postgres URL
// SCHEMA".
func openJournal(ctx context.Context, name string) (journal.Journal, error) {
	kind, where, _ := strings.Cut(name, " ")
	switch kind {
	case "bolt":
		return bolt.Open(where, &bolt.Options{Logger: quiet})
	case "sqlite":
		return sqlite.OpenAndMigrate(ctx, where, &sqlite.Options{Logger: quiet})
	case "postgres":
		url, schema, _ := strings.Cut(where, " ")
		return postgres.OpenAndMigrate(ctx, url, &postgres.Options{Schema: schema, Logger: quiet})
	}
	return nil, fmt.Errorf("no journal %q", name)
}

// openBus connects to what is named "KIND URL NAMESPACE", as soon as it is there.
func openBus(ctx context.Context, name, group string) (b *bus.Bus, err error) {
	words := strings.Split(name, " ")
	kind, url, namespace := words[0], words[1], words[2]
	for {
		switch kind {
		case "pgbus":
			b, err = pgbus.OpenAndMigrate(ctx, url, pgbus.Options{Group: group, Namespace: namespace, Schema: namespace, Lease: 2 * time.Second, Logger: quiet})
		case "rabbitbus":
			b, err = rabbitbus.Connect(ctx, url, rabbitbus.Options{Group: group, Namespace: namespace, Logger: quiet})
		case "natsbus":
			b, err = natsbus.Connect(ctx, url, natsbus.Options{Group: group, Namespace: namespace, Logger: quiet})
		case "kafkabus":
			b, err = kafkabus.Connect(ctx, url, kafkabus.Options{Group: group, Namespace: namespace, SessionTimeout: 2 * time.Second, Logger: quiet})
		default:
			return nil, fmt.Errorf("no bus %q", name)
		}
		if !errors.Is(err, bus.ErrUnavailable) {
			return b, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// newDispatcher has short leases, so that its death is noticed soon.
func newDispatcher(j journal.Journal, b *bus.Bus) (*outbox.Dispatcher, error) {
	return outbox.New(j, b, &outbox.Options{LeaseTTL: time.Second, Window: 50, MaxBackoff: 500 * time.Millisecond, Logger: quiet})
}

// produce is a process that asks each of KEYS meters for its numbers up to EACH.
// It begins with the last few that were emitted before, whose answers its
// predecessor may not have heard: they have no effect again. (From 1 on, a process
// that is killed each second would never get to new ones.) With DISPATCH it
// publishes them, too.
func produce() error {
	ctx := context.Background()
	j, err := openJournal(ctx, os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	system, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return err
	}
	hosted, err := actor.Host(system, meters, nil)
	if err != nil {
		return err
	}
	if os.Getenv("DISPATCH") != "" {
		go func() {
			err := publish(ctx, j)
			fmt.Fprintln(os.Stderr, "dispatcher:", err)
			os.Exit(4)
		}()
	}
	keys, _ := strconv.Atoi(os.Getenv("KEYS"))
	each, _ := strconv.Atoi(os.Getenv("EACH"))
	var all sync.WaitGroup
	for k := range keys {
		all.Go(func() {
			id := fmt.Sprint("key-", k)
			n := 0
			for n == 0 {
				if reached, err := cmdEmit.Ask(ctx, hosted, emit{ID: id}); err == nil {
					n = max(reached-2, 1)
				}
			}
			for n <= each {
				reached, err := cmdEmit.Ask(ctx, hosted, emit{ID: id, N: n}, aggregate.WithCommandID(fmt.Sprint(n)))
				if err == nil {
					n = max(n, reached) + 1
				}
			}
		})
	}
	all.Wait()
	testenv.Report("done")
	select {} // the dispatcher goes on
}

func publish(ctx context.Context, j journal.Journal) error {
	b, err := openBus(ctx, os.Getenv("BUS"), "producer")
	if err != nil {
		return err
	}
	d, err := newDispatcher(j, b)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// dispatch is a process that only publishes.
func dispatch() error {
	j, err := openJournal(context.Background(), os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	return publish(context.Background(), j)
}

// consume is a replica of the service that notes what was emitted.
func consume() error {
	ctx := context.Background()
	j, err := openJournal(ctx, os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	system, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return err
	}
	hosted, err := actor.Host(system, sinks, &actor.HostOptions{Shared: true})
	if err != nil {
		return err
	}
	b, err := openBus(ctx, os.Getenv("BUS"), "consumer")
	if err != nil {
		return err
	}
	opts := bus.Inbox(j)
	opts.Logger = quiet
	opts.MaxBackoff = time.Second
	handlers := bus.NewHandlers().OnEvent("emitted", bus.Typed(nil, func(ctx context.Context, e emit, m *envelope.Message) error {
		_, err := cmdNote.Ask(ctx, hosted, note(e))
		return err
	}))
	for {
		if err := b.Subscribe(ctx, handlers, opts); !errors.Is(err, bus.ErrUnavailable) { // a broker that is away when it begins
			return err
		}
	}
}
