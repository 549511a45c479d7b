package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/bench/internal/account"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/bolt"
	"github.com/troupe-go/troupe/snapshot"
)

// BenchmarkIdleResident is what an aggregate in memory costs while nobody asks
// it, and what one costs that was passivated.
func BenchmarkIdleResident(b *testing.B) {
	const n = 100_000
	j := open(b, "memory")
	for i := range n {
		fill(b, j, accountID(i), 1, false)
	}
	s, h := system(b, j, &actor.HostOptions{PassivateAfter: -1, Snapshots: snapshot.Policy{Every: -1, AtPassivation: -1}})
	ids := accountIDs(n)
	before := liveHeap()
	touch(b, h, ids)
	resident := liveHeap()
	if got := s.Stats().Residents; got != n {
		b.Fatalf("%d residents, want %d", got, n)
	}
	if err := s.Stop(context.Background()); err != nil {
		b.Fatal(err)
	}
	passivated := liveHeap()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(resident-before)/n, "B/resident")
	b.ReportMetric(float64(passivated-before)/n, "B/passivated")
	runtime.KeepAlive(ids)
}

func touch(b *testing.B, h *actor.Aggregates[account.Account], ids []string) {
	b.Helper()
	each64(ids, func(id string) {
		if _, err := depositCommand.Ask(context.Background(), h, deposit{id, 0}); aggregate.CodeOf(err) != aggregate.CodeRejected {
			b.Error(err)
		}
	})
}

// each64 calls fn for each id, from 64 goroutines.
func each64(ids []string, fn func(id string)) {
	var wg sync.WaitGroup
	for part := range 64 {
		wg.Go(func() {
			for i := part; i < len(ids); i += 64 {
				fn(ids[i])
			}
		})
	}
	wg.Wait()
}

func readBare(b *testing.B, j journal.Journal, id string) {
	b.Helper()
	latest, err := j.LoadLatest(context.Background(), account.Spec.Stream(id))
	if err != nil {
		b.Error(err)
		return
	}
	for _, err := range latest.Records {
		if err != nil {
			b.Error(err)
		}
	}
}

func liveHeap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) + int64(m.StackInuse)
}

// fill appends n events to one account, and a snapshot at the end.
func fill(b *testing.B, j journal.Journal, id string, n int, snap bool) {
	b.Helper()
	a := account.Spec.New(id)
	for i := 0; i < n; i++ {
		e := event(id, 1)
		if err := a.Deposit(e.Account, e.Amount, e.Currency, e.Reference, e.Channel); err != nil {
			b.Fatal(err)
		}
	}
	batch := &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: account.Spec.Stream(id), Records: account.Spec.Pending(a)}}}
	if snap {
		s, err := account.Spec.Snapshot(a, time.Time{})
		if err != nil {
			b.Fatal(err)
		}
		batch.Snapshots = append(batch.Snapshots, s)
	}
	if _, err := journal.Commit(context.Background(), j, batch); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkActivation is the first command of an aggregate that is not in
// memory, from a snapshot and by replay, beside the bare reads of the journal;
// both from 64 goroutines.
func BenchmarkActivation(b *testing.B) {
	for _, c := range []struct {
		name   string
		events int
		snap   bool
	}{{"snapshot", 100, true}, {"replay=10", 10, false}, {"replay=1000", 1000, false}} {
		b.Run("from="+c.name, func(b *testing.B) {
			j := open(b, "bolt")
			const n = 2000
			ids := accountIDs(n)
			for _, id := range ids {
				fill(b, j, id, c.events, c.snap)
			}
			s, h := system(b, j, &actor.HostOptions{PassivateAfter: 100 * time.Millisecond, Snapshots: snapshot.Policy{Every: -1, AtPassivation: -1}})
			perID := func(do func()) float64 {
				began := time.Now()
				do()
				return float64(time.Since(began).Nanoseconds()) / n / 1e3
			}
			var cold, bare []float64
			for round := range *rounds + 1 {
				x := perID(func() { touch(b, h, ids) })
				for s.Stats().Residents > 0 { // until all are passivated
					time.Sleep(time.Millisecond)
				}
				y := perID(func() { each64(ids, func(id string) { readBare(b, j, id) }) })
				if round > 0 { // the first one grows the maps
					cold, bare = append(cold, x), append(bare, y)
				}
			}
			if err := s.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(cold), "µs/activation")
			b.ReportMetric(median(bare), "µs/bare-read")
			b.ReportMetric(median(cold)/median(bare), "ratio")
		})
	}
}

// BenchmarkReplay is the replay of one stream of 10,000 events, beside bare
// decoding of the same payloads: with the same codec, and by encoding/json.
func BenchmarkReplay(b *testing.B) {
	for _, name := range []string{"memory", "bolt"} {
		b.Run("journal="+name, func(b *testing.B) { replay(b, open(b, name)) })
	}
}

func replay(b *testing.B, j journal.Journal) {
	const n = 10_000
	fill(b, j, "one", n, false)
	var payloads [][]byte
	for rec, err := range j.Load(context.Background(), account.Spec.Stream("one"), 0) {
		if err != nil {
			b.Fatal(err)
		}
		payloads = append(payloads, append([]byte(nil), rec.Data...))
	}
	perSecond := func(do func() error) float64 {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		return n / time.Since(began).Seconds()
	}
	each := func(decode func([]byte, any) error) func() error {
		return func() error {
			for _, p := range payloads {
				var e account.AccountDeposited
				if err := decode(p, &e); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var replayed, bare, std []float64
	for range *rounds {
		replayed = append(replayed, perSecond(func() error {
			_, err := account.Spec.ReplayAll(account.Spec.New("one"), j.Load(context.Background(), account.Spec.Stream("one"), 0))
			return err
		}))
		bare = append(bare, perSecond(each(envelope.JSON.Decode)))
		std = append(std, perSecond(each(json.Unmarshal)))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(replayed), "events/s")
	b.ReportMetric(median(bare), "bare-decode/s")
	b.ReportMetric(median(std), "encoding-json/s")
	b.ReportMetric(median(replayed)/median(bare), "ratio")
}

// tally is the model of W without generated code, and with it: the payload is the
// same, so that what differs is the way to the state.
type tally struct {
	aggregate.Root
	Balance int64
	Count   int64
}

// applied is the payload with an Apply method, for the third way.
type applied account.AccountDeposited

func (e applied) Apply(t *tally) {
	t.Balance += e.Amount
	t.Count++
}

func (e *applied) DecodeJSON(data []byte) error {
	return (*account.AccountDeposited)(e).DecodeJSON(data)
}

// BenchmarkReplayWays is the replay of 10,000 events in memory by generated code,
// beside the same model written with On, and with payloads that apply themselves.
func BenchmarkReplayWays(b *testing.B) {
	const n = 10_000
	j := open(b, "memory")
	fill(b, j, "one", n, false)
	var records []envelope.Record
	for rec, err := range j.Load(context.Background(), account.Spec.Stream("one"), 0) {
		if err != nil {
			b.Fatal(err)
		}
		records = append(records, rec)
	}
	each := func(yield func(envelope.Record, error) bool) {
		for i := range records {
			if !yield(records[i], nil) {
				return
			}
		}
	}
	plain := aggregate.Define("account", aggregate.On("deposited", func(t *tally, e account.AccountDeposited) {
		t.Balance += e.Amount
		t.Count++
	}))
	byHand := aggregate.Define("account", aggregate.Applies[tally, applied]("deposited"))
	ways := []struct {
		name   string
		replay func() (int, error)
		rates  []float64
	}{
		{name: "generated", replay: func() (int, error) { return account.Spec.ReplayAll(account.Spec.New("one"), each) }},
		{name: "plain", replay: func() (int, error) { return plain.ReplayAll(plain.New("one"), each) }},
		{name: "by-hand", replay: func() (int, error) { return byHand.ReplayAll(byHand.New("one"), each) }},
	}
	for range 10 * *rounds {
		for i := range ways {
			began := time.Now()
			if got, err := ways[i].replay(); err != nil || got != n {
				b.Fatal(got, err)
			}
			ways[i].rates = append(ways[i].rates, n/time.Since(began).Seconds())
		}
	}
	b.ReportMetric(0, "ns/op")
	for i := range ways {
		b.ReportMetric(median(ways[i].rates), ways[i].name+"/s")
		if i > 0 {
			b.ReportMetric(median(ways[0].rates)/median(ways[i].rates), "ratio-to-"+ways[i].name)
		}
	}
}

// BenchmarkReadAll is reading every record of a journal in the order of
// positions.
func BenchmarkReadAll(b *testing.B) {
	const streams, each = 1000, 200
	j := open(b, "bolt")
	for i := range streams {
		fill(b, j, accountID(i), each, false)
	}
	var rates []float64
	for range *rounds {
		n := 0
		began := time.Now()
		for _, err := range j.ReadAll(context.Background(), journal.Position{}, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != streams*each {
			b.Fatalf("read %d of %d", n, streams*each)
		}
		rates = append(rates, float64(n)/time.Since(began).Seconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "events/s")
}

// BenchmarkLargeFile is W at 1,000 aggregates on a file that holds 10 million
// events of 100,000 others, beside W on an empty file; and opening that file.
func BenchmarkLargeFile(b *testing.B) {
	path := largeFile(b)
	b.Run("open", func(b *testing.B) {
		var took []float64
		for range *rounds {
			began := time.Now()
			j, err := bolt.Open(path, nil)
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, float64(time.Since(began).Microseconds())/1e3)
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(took), "open-ms")
		b.ReportMetric(fileMiB(b, path), "MiB")
	})
	for _, callers := range []int{64, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			large, err := bolt.Open(path, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer large.Close()
			onLarge, stop := host(b, large, nil)
			defer stop()
			onEmpty, stop2 := host(b, open(b, "bolt"), nil)
			defer stop2()
			ids := make([]string, callers) // spread over all that is there
			for i := range ids {
				ids[i] = largeID(i * (largeStreams / callers))
			}
			w := func(h *actor.Aggregates[account.Account]) func() figures {
				return func() figures {
					return drive(b, callers, *roundTime, func(caller, _ int) error {
						_, err := depositCommand.Ask(context.Background(), h, deposit{ids[caller], 1})
						return err
					})
				}
			}
			comparison(b, w(onLarge), w(onEmpty))
		})
	}
}

const (
	largeStreams = 100_000
	largeEvents  = 10_000_000
)

func largeID(n int) string { return fmt.Sprintf("large-%06d", n) }

// largeFile returns a file of 10 million events, built once per machine.
func largeFile(b *testing.B) string {
	b.Helper()
	dir := cacheDir(b)
	path := filepath.Join(dir, "bolt-10m-v1.db")
	ready := path + ".ready"
	if exists(ready) {
		return path
	}
	b.Logf("building %s: 10 million events, once", path)
	remove(b, path)
	j, err := bolt.Open(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	data, err := json.Marshal(event(largeID(0), 1))
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 4000)
	for version := uint64(0); version < largeEvents/largeStreams; version += 10 {
		for n := range largeStreams {
			s := account.Spec.Stream(largeID(n))
			records := make([]envelope.Record, 10)
			for i := range records {
				records[i] = envelope.Record{Stream: s, Version: version + 1 + uint64(i), Name: "deposited", Schema: 1, Codec: "json", Data: data}
			}
			room <- struct{}{}
			wg.Add(1)
			j.Submit(&journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{{Stream: s, Expected: version, Records: records}}},
				func(_ journal.Result, err error) {
					if err != nil {
						b.Error(err)
					}
					<-room
					wg.Done()
				})
		}
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	if b.Failed() {
		b.FailNow()
	}
	create(b, ready)
	return path
}
