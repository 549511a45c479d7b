package pgbus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/pgschema"
	"github.com/troupe-go/troupe/migrations"
)

// Connect makes a bus on the database at url, whose tables must be there.
//
// Errors: [ErrSchema], [bus.ErrUnavailable], [bus.ErrUnauthorized], and
// [envelope.ErrInvalid] for an option or a malformed url.
func Connect(ctx context.Context, url string, opts Options) (*bus.Bus, error) {
	return connect(ctx, url, opts, false)
}

// OpenAndMigrate is [Migrate], then [Connect].
func OpenAndMigrate(ctx context.Context, url string, opts Options) (*bus.Bus, error) {
	return connect(ctx, url, opts, true)
}

// FromPool is [Connect] with a pool of yours, which the bus does not close. It
// needs two connections of it at a time, and one more per run. Have their
// parameter enable_bitmapscan "off", as Connect does: on new tables the server
// may otherwise sort all that is left of the log for each page.
func FromPool(ctx context.Context, pool *pgxpool.Pool, opts Options) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(ctx, pool, false, o)
}

// Migrate creates the tables of the bus in the database at url, or brings them
// up to date. Several processes may do so at once. Only opts.Schema matters
// and the role needs the right to create it, or owns it.
//
// Errors: as [Connect].
func Migrate(ctx context.Context, url string, opts Options) error {
	if opts.Group == "" {
		opts.Group = "none"
	}
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	config, err := poolConfig(url, o)
	if err != nil {
		return err
	}
	return migrate(ctx, config.ConnConfig, o)
}

func poolConfig(url string, o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("%w: database url: %w", envelope.ErrInvalid, err)
	}
	config.MaxConns = o.MaxConns
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = o.ConnectTimeout
	}
	config.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(o.StatementTimeout.Milliseconds(), 10)
	config.ConnConfig.RuntimeParams["application_name"] = "troupe bus " + o.Group
	// Without statistics, as of new tables, the server would collect and sort
	// all that is left of the log for each page, instead of going along the index.
	config.ConnConfig.RuntimeParams["enable_bitmapscan"] = "off"
	return config, nil
}

func schemaOf(o Options) (*pgschema.Schema, error) {
	files, err := fs.Sub(migrations.PgBus, "pgbus")
	return &pgschema.Schema{Name: o.Schema, Table: "troupe_bus_schema", Files: files, Version: 1}, err
}

func migrate(ctx context.Context, config *pgx.ConnConfig, o Options) error {
	schema, err := schemaOf(o)
	if err != nil {
		return err
	}
	config = config.Copy()
	delete(config.RuntimeParams, "statement_timeout") // waiting for another migration is no hurry
	from, err := schema.Migrate(ctx, config)
	var newer *pgschema.NewerError
	if errors.As(err, &newer) {
		return &SchemaError{Schema: o.Schema, Found: newer.Found, Want: newer.Want}
	}
	if err != nil {
		return typed(ctx, "migrate", err)
	}
	if from != schema.Version {
		o.Logger.Info("pgbus: migrated", "schema", o.Schema, "from", from, "to", schema.Version)
	}
	return nil
}

func connect(ctx context.Context, url string, opts Options, migrating bool) (*bus.Bus, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	config, err := poolConfig(url, o)
	if err != nil {
		return nil, err
	}
	if migrating {
		if err := migrate(ctx, config.ConnConfig, o); err != nil {
			return nil, err
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, typed(ctx, "connect", err)
	}
	b, err := start(ctx, pool, true, o)
	if err != nil {
		pool.Close()
	}
	return b, err
}

// transport is one service's end.
type transport struct {
	pool  *pgxpool.Pool
	own   bool // the pool is ours to close
	opts  Options
	group string // with the namespace
	sql   statements
	lock  int64 // advisory, of the log of this namespace

	outgoing  outgoing
	listeners listeners

	life    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	sources map[bus.Source]struct{}
}

var _ bus.Transport = (*transport)(nil)

func start(ctx context.Context, pool *pgxpool.Pool, own bool, o Options) (*bus.Bus, error) {
	schema, err := schemaOf(o)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, o.ConnectTimeout+o.StatementTimeout)
	defer cancel()
	found, err := schema.Stored(limited, pool)
	if err != nil {
		return nil, typed(ctx, "connect", err)
	}
	if found != schema.Version {
		return nil, &SchemaError{Schema: o.Schema, Found: found, Want: schema.Version}
	}
	t := &transport{
		pool: pool, own: own, opts: o, group: o.Group, sql: makeStatements(o.Schema),
		sources: map[bus.Source]struct{}{},
	}
	if o.Namespace != "" {
		t.group = o.Namespace + "." + o.Group
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte("troupe " + o.Schema + " bus_log " + o.Namespace)) // a hash never fails to write
	t.lock = int64(h.Sum64())
	t.life, t.end = context.WithCancel(context.WithoutCancel(ctx))
	t.outgoing.kick = make(chan struct{}, 1)
	t.listeners.notify = make(chan struct{}, 1)
	t.running.Go(t.publishLoop)
	t.running.Go(t.notifyLoop)
	t.running.Go(t.listenLoop)
	t.running.Go(t.sweepLoop)
	return bus.New(t), nil
}

func (t *transport) Features() bus.Features {
	return bus.Features{
		Name: "postgres", Durable: true, Consumes: true, DeadLetters: true, Retained: true,
		OrderedPublish: true, OrderedEvents: true,
	}
}

func (t *transport) Group() string { return t.group }

func (t *transport) DeadLetters() bus.DeadLetters { return deadLetters{t} }

// Close ends the sources, then everything else.
func (t *transport) Close() error {
	t.mu.Lock()
	sources := make([]bus.Source, 0, len(t.sources))
	for s := range t.sources {
		sources = append(sources, s)
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), t.opts.StatementTimeout)
	defer cancel()
	var errs []error
	for _, s := range sources {
		errs = append(errs, s.Close(ctx))
	}
	t.end()
	t.running.Wait()
	if t.own {
		t.pool.Close()
	}
	return errors.Join(errs...)
}

func (t *transport) adopt(s bus.Source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return bus.ErrClosed
	}
	t.sources[s] = struct{}{}
	return nil
}

func (t *transport) forget(s bus.Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sources, s)
}

// sweepEvery is how often old events are deleted; sweepRows at most so many at
// a time.
const (
	sweepEvery = time.Minute
	sweepRows  = 10_000
)

// sweepLoop lets go of events that all groups have handled and nobody has to
// retain any more.
func (t *transport) sweepLoop() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.life.Done():
			return
		case <-ticker.C:
		}
		for {
			tag, err := t.pool.Exec(t.life, t.sql.sweep, t.opts.Namespace, t.opts.Retain.Seconds(), sweepRows)
			if err != nil && t.life.Err() == nil {
				t.opts.Logger.Warn("pgbus: old events were not deleted", "err", err)
			}
			if err != nil || tag.RowsAffected() < sweepRows {
				break
			}
		}
	}
}
