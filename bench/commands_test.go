package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/journal/memory"
)

var cells = []struct{ aggregates, callers int }{{1, 1}, {64, 64}, {1000, 1000}, {10000, 10000}, {1, 64}, {1, 1000}}

// BenchmarkCommands is W on each journal, beside the bare store: for bolt the
// journal itself, without actors (same layout, same gate, same group commit);
// for memory a map of mutexes with JSON and an append.
func BenchmarkCommands(b *testing.B) {
	for _, name := range []string{"memory", "bolt", "sqlite", "postgres"} {
		for _, c := range cells {
			b.Run(fmt.Sprintf("journal=%s/aggregates=%d/callers=%d", name, c.aggregates, c.callers), func(b *testing.B) {
				j := open(b, name)
				h, stop := host(b, j, nil)
				defer stop()
				ids := accountIDs(c.aggregates)
				framework := func() figures {
					return drive(b, c.callers, *roundTime, func(caller, _ int) error {
						_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller%c.aggregates], 1})
						return err
					})
				}
				var bare func() figures
				switch {
				case name == "memory":
					bare = bareMap(b, ids, c.callers)
				case name == "sqlite" && (c.aggregates > 1 || c.callers == 1):
					bare = bareSQLite(b).drive(b, c.callers, false)
				case name == "postgres" && (c.aggregates > 1 || c.callers == 1):
					bare = barePostgres(b, 2, false).drive(b, c.callers, false)
				default:
					bare = bareJournal(b, open(b, name), c.aggregates, c.callers)
				}
				groups := countGroups(j)
				f, _, _ := comparison(b, framework, bare)
				groups(b, f)
			})
		}
	}
}

// BenchmarkCommandIDs is W with an id for each command, beside W without.
func BenchmarkCommandIDs(b *testing.B) {
	variants(b, func(h aggregate.Asker[account.Account], ids []string) (with, without func(caller, i int) error) {
		var next atomic.Int64
		return func(caller, _ int) error {
				_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], 1},
					aggregate.WithCommandID(strconv.FormatInt(next.Add(1), 36)))
				return err
			}, func(caller, _ int) error {
				_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], 1})
				return err
			}
	})
}

// BenchmarkRefusals is W where every second command is refused, beside W.
func BenchmarkRefusals(b *testing.B) {
	variants(b, func(h aggregate.Asker[account.Account], ids []string) (half, none func(caller, i int) error) {
		return func(caller, i int) error {
				_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], int64(i % 2)})
				if i%2 == 0 && aggregate.CodeOf(err) == aggregate.CodeRejected {
					return nil
				}
				return err
			}, func(caller, _ int) error {
				_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], 1})
				return err
			}
	})
}

func variants(b *testing.B, make func(h aggregate.Asker[account.Account], ids []string) (variant, plain func(caller, i int) error)) {
	for _, name := range []string{"memory", "bolt", "sqlite", "postgres"} {
		for _, callers := range []int{64, 1000} {
			b.Run(fmt.Sprintf("journal=%s/callers=%d", name, callers), func(b *testing.B) {
				h, stop := host(b, open(b, name), nil)
				defer stop()
				h2, stop2 := host(b, open(b, name), nil)
				defer stop2()
				ids := accountIDs(callers)
				variant, _ := make(h, ids)
				_, plain := make(h2, ids)
				comparison(b,
					func() figures { return drive(b, callers, *roundTime, variant) },
					func() figures { return drive(b, callers, *roundTime, plain) })
			})
		}
	}
}

// BenchmarkOneTransactionEach is W at 1,000 aggregates and 1,000 callers, and
// one hot aggregate with 1,000 callers, beside one bbolt transaction for each
// event.
func BenchmarkOneTransactionEach(b *testing.B) {
	for _, c := range []struct{ aggregates, callers int }{{1000, 1000}, {1, 1000}} {
		b.Run(fmt.Sprintf("aggregates=%d/callers=%d", c.aggregates, c.callers), func(b *testing.B) {
			h, stop := host(b, open(b, "bolt"), nil)
			defer stop()
			ids := accountIDs(c.aggregates)
			db := bareBolt(b)
			comparison(b, func() figures {
				return drive(b, c.callers, *roundTime, func(caller, _ int) error {
					_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller%c.aggregates], 1})
					return err
				})
			}, func() figures { return drive(b, 64, *roundTime, db) })
		})
	}
}

// BenchmarkSingleCaller is one caller's latency beside one bare bbolt commit.
func BenchmarkSingleCaller(b *testing.B) {
	h, stop := host(b, open(b, "bolt"), nil)
	defer stop()
	db := bareBolt(b)
	f, base, _ := comparison(b, func() figures {
		return drive(b, 1, *roundTime, func(int, int) error {
			_, err := depositCommand.Ask(context.Background(), h, deposit{"one", 1})
			return err
		})
	}, func() figures { return drive(b, 1, *roundTime, db) })
	b.ReportMetric(f.p50/base.p50, "p50-ratio")
}

func open(b *testing.B, name string) journal.Journal {
	b.Helper()
	var j journal.Journal
	var err error
	switch name {
	case "memory":
		j, err = memory.Open(nil)
	case "sqlite":
		j = openSQLite(b, filepath.Join(b.TempDir(), "journal.db"))
	case "postgres":
		j = openPostgres(b)
	default:
		j, err = bolt.Open(filepath.Join(b.TempDir(), "journal.db"), nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return j
}

// bareJournal drives the journal itself. Each caller has a stream of its own
// and knows its version; callers of one stream are a group that submits one
// batch with an event of each, as an actor does.
func bareJournal(b *testing.B, j journal.Journal, streams, callers int) func() figures {
	if streams == 1 && callers > 1 {
		return bareHot(b, j, callers)
	}
	type writer struct {
		batch   journal.Batch
		records [1]envelope.Record
		version uint64
		answer  chan error
		done    func(journal.Result, error)
	}
	writers := make([]writer, callers)
	for i := range writers {
		w := &writers[i]
		data, err := json.Marshal(event(accountID(i), 1))
		if err != nil {
			b.Fatal(err)
		}
		s := envelope.Stream{Type: "bare", ID: accountID(i)}
		w.records[0] = envelope.Record{Stream: s, Name: "deposited", Schema: 1, Codec: "json", Data: data}
		w.batch.Appends = []journal.Append{{Stream: s, Records: w.records[:]}}
		w.answer = make(chan error, 1)
		w.done = func(_ journal.Result, err error) { w.answer <- err }
	}
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			w := &writers[caller]
			w.batch.ID = journal.NewBatchID()
			w.batch.Appends[0].Expected = w.version
			w.version++
			w.records[0].Version = w.version
			j.Submit(&w.batch, w.done)
			return <-w.answer
		})
	}
}

// bareHot is one stream whose callers are drained into one batch at a time by
// a bare goroutine: what batching can give without a framework.
func bareHot(b *testing.B, j journal.Journal, callers int) func() figures {
	data, err := json.Marshal(event("hot", 1))
	if err != nil {
		b.Fatal(err)
	}
	s := envelope.Stream{Type: "bare", ID: "hot"}
	queue := make(chan chan error, callers)
	var wg sync.WaitGroup
	wg.Go(func() {
		var version uint64
		var answers []chan error
		var records []envelope.Record
		answer := make(chan error, 1)
		for first := range queue {
			answers = append(answers[:0], first)
			for len(queue) > 0 && len(answers) < 256 {
				answers = append(answers, <-queue)
			}
			records = records[:0]
			for i := range answers {
				records = append(records, envelope.Record{Stream: s, Version: version + 1 + uint64(i), Name: "deposited", Schema: 1, Codec: "json", Data: data})
			}
			j.Submit(&journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: s, Expected: version, Records: records}}},
				func(_ journal.Result, err error) { answer <- err })
			err := <-answer
			version += uint64(len(answers))
			for _, a := range answers {
				a <- err
			}
		}
	})
	b.Cleanup(func() { close(queue); wg.Wait() })
	answers := make([]chan error, callers)
	for i := range answers {
		answers[i] = make(chan error, 1)
	}
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			queue <- answers[caller]
			return <-answers[caller]
		})
	}
}

// bareMap is the same decision and the same bytes without actors and without a
// journal: a map of states behind sharded mutexes, JSON, an append.
func bareMap(b *testing.B, ids []string, callers int) func() figures {
	type state struct {
		account account.Account
		records [][]byte
	}
	type shard struct {
		mu     sync.Mutex
		states map[string]*state
	}
	var shards [64]shard
	for i := range shards {
		shards[i].states = make(map[string]*state)
	}
	return func() figures {
		return drive(b, callers, *roundTime, func(caller, _ int) error {
			n := caller % len(ids)
			s := &shards[n%len(shards)]
			s.mu.Lock()
			defer s.mu.Unlock()
			st := s.states[ids[n]]
			if st == nil {
				st = &state{}
				s.states[ids[n]] = st
			}
			e := event(ids[n], 1)
			data, err := envelope.JSON.Encode(e)
			if err != nil {
				return err
			}
			st.records = append(st.records, data)
			st.account.Balance += e.Amount
			st.account.Count++
			return nil
		})
	}
}

// bareBolt appends one event per bbolt transaction.
func bareBolt(b *testing.B) func(caller, i int) error {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	data, err := json.Marshal(event("bare", 1))
	if err != nil {
		b.Fatal(err)
	}
	return func(int, int) error {
		return db.Update(func(tx *bbolt.Tx) error {
			log, err := tx.CreateBucketIfNotExists([]byte("log"))
			if err != nil {
				return err
			}
			log.FillPercent = 1
			n, err := log.NextSequence()
			if err != nil {
				return err
			}
			var key [8]byte
			for i := range key {
				key[i] = byte(n >> (56 - 8*i))
			}
			return log.Put(key[:], data)
		})
	}
}
