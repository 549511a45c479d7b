package journaltest

import (
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

// messageCases hold what an outbox is given and gives back.
var messageCases = []Case{
	{"MessagesExistIffTheirBatchCommitted", func(w *world) {
		if w.lacks(messages) {
			return
		}
		s, other := stream("s"), stream("other")
		w.inEveryLife(func() { w.outboxHolds() })
		w.must(newBatch(events(s, 0, 2), message("a", "k"), message("b", "k"), receipt(s, "id", 2)))
		w.must(newBatch(message("alone", "")))
		for _, refused := range []*journal.Batch{
			newBatch(events(s, 1, 1), message("c", "k")), newBatch(events(s, 9, 1), message("d", "k")),
			newBatch(journal.Assert{Stream: s, Expected: 1}, message("e", "k")),
			newBatch(receipt(s, "id", 9), message("f", "k")), newBatch(events(other, 0, 1), message("g", "k"), message("a", "k")),
		} {
			_, err := w.commit(refused)
			require.Error(w, err)
		}
		w.inEveryLife(func() {
			w.outboxHolds("a", "b", "alone")
			w.versions(s, 2)
			w.versions(other, 0)
		})
		w.must(newBatch(events(s, 2, 1), message("c", "k"), message("g", "k"))) // the refused ids are in nobody's way
		w.inEveryLife(func() { w.outboxHolds("a", "b", "alone", "c", "g") })
	}},
	{"MessageIdTakenRefusesThatBatchAlone", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const members = 100
		w.must(newBatch(message("taken", "k")))
		ids := []string{"taken", "wanted by many"}
		given := false // one of many gets it, whichever is decided first
		check := func(round string) {
			var waiting []*pending
			for i := range members {
				b := newBatch(events(stream(fmt.Sprint(round, i)), 0, 1), message(fmt.Sprint(round, i), "k"))
				switch i % 10 {
				case 3:
					b.Messages = append(b.Messages, message("taken", "other key"))
				case 6:
					b.Messages = append(b.Messages, message("wanted by many", "k"))
				}
				waiting = append(waiting, w.submit(b))
			}
			for i, p := range waiting {
				_, err := w.outcome(p)
				want := uint64(0)
				switch {
				case i%10 == 3:
					w.messageExists(err, "taken")
				case i%10 == 6 && (given || err != nil):
					w.messageExists(err, "wanted by many")
				default:
					require.NoError(w, err, "member %d", i)
					want = 1
					given = given || i%10 == 6
					ids = append(ids, fmt.Sprint(round, i))
				}
				w.versions(stream(fmt.Sprint(round, i)), want)
			}
		}
		check("first ")
		require.True(w, given)
		if w.harness.Reopen != nil {
			w.reopen()
			check("second ")
		}
		w.outboxHolds(ids...)
	}},
	{"MessageIsStoredAsGiven", func(w *world) {
		if w.lacks(messages) {
			return
		}
		full := message("full", "key")
		full.Kind, full.Destination = envelope.KindCommand, "billing"
		full.ContentType, full.Codec, full.Data = "application/x-anything; v=1", "raw", allBytes()
		full.Source, full.SourceVersion = envelope.Stream{Type: "ä/ö", ID: "日本"}, 1<<62
		full.Time = time.Date(2026, 2, 3, 4, 5, 6, 123_456_789, time.FixedZone("", 3600*5))
		full.Metadata = envelope.Metadata{
			CorrelationID: "c", CausationID: "d", CommandID: "e", Keys: map[string]string{"tenant": "acme", "empty": "", "u~": "日本\t"},
		}
		bySource := envelope.Message{ID: "by source", Kind: envelope.KindEvent, Name: "happened", Source: stream("s")}
		large := message("large", "")
		large.Data = make([]byte, envelope.MaxDataBytes)
		want := []envelope.Message{
			full, bySource, large, {ID: "least", Kind: envelope.KindEvent, Name: "n"},
			{ID: "ü/… '\"\\%", Kind: envelope.KindEvent, Name: "日本", Key: " k ", Data: []byte("{ }\n"), Time: at(9)},
		}
		b := newBatch(events(stream("s"), 0, 1))
		b.Messages = append(b.Messages, want...)
		w.must(b)
		w.inEveryLife(func() {
			got := w.outbox(0, 0)
			require.Len(w, got, len(want))
			for _, m := range want {
				found := false
				for i := range got {
					if got[i].ID == m.ID {
						sameMessage(w, m, got[i])
						found = true
					}
				}
				require.True(w, found, "message %q", m.ID)
			}
		})
	}},
	{"MessagePositionsKeepOrderPerKey", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const keys, each = 6, 60
		var writers sync.WaitGroup
		for k := range keys {
			writers.Go(func() {
				var last *pending
				for i := range each {
					b := newBatch(events(stream(fmt.Sprint(k)), uint64(i), 1))
					for n := range 2 {
						b.Messages = append(b.Messages, message(fmt.Sprintf("%d-%03d", k, 2*i+n), fmt.Sprint(k)))
					}
					if last = send(w.j, b); i%7 == 0 {
						<-last.done
					}
				}
				<-last.done
			})
		}
		written := make(chan struct{})
		go func() { writers.Wait(); close(written) }()
		w.await(written, "writers of messages")
		w.inEveryLife(func() {
			all := w.outbox(0, 0)
			require.Len(w, all, keys*each*2)
			next := map[string]int{}
			for _, m := range all {
				require.Equal(w, fmt.Sprintf("%s-%03d", m.Key, next[m.Key]), m.ID, "next message of key %s", m.Key)
				next[m.Key]++
			}
		})
	}},
	{"MessagesAreReadByPosition", func(w *world) {
		if w.lacks(messages) {
			return
		}
		const n = 2500
		for i := 0; i < n; i += 50 {
			b := newBatch(events(stream("s"), uint64(i/50), 1))
			for k := range 50 {
				b.Messages = append(b.Messages, message(fmt.Sprint(i+k), fmt.Sprint(k)))
			}
			w.must(b)
		}
		all := w.outbox(0, 0)
		require.Len(w, all, n)
		w.inEveryLife(func() {
			for _, limit := range []int{1, 7, 999, 1000, 1001, n - 1, n, n + 1, 0, -1, math.MaxInt, math.MinInt} {
				got := w.outbox(0, limit)
				want := n
				if limit > 0 {
					want = min(limit, n)
				}
				require.Len(w, got, want, "limit %d", limit)
				require.Equal(w, all[want-1].Position, got[want-1].Position)
			}
			var paged []envelope.StoredMessage
			for after := uint64(0); ; after = paged[len(paged)-1].Position {
				page := w.outbox(after, 333)
				if len(page) == 0 {
					break
				}
				paged = append(paged, page...)
			}
			require.Len(w, paged, n)
			for i := range all {
				require.Equal(w, all[i].ID, paged[i].ID)
				require.Equal(w, all[i].Position, paged[i].Position)
			}
			for _, beyond := range []uint64{all[n-1].Position, all[n-1].Position + 1, math.MaxInt64, math.MaxUint64} {
				require.Empty(w, w.outbox(beyond, 0))
				require.Empty(w, w.outbox(beyond, 3))
			}
		})
		w.must(newBatch(message("later", "")))
		w.inEveryLife(func() { require.Len(w, w.outbox(all[n-1].Position, 0), 1, "a later message has a later position") })
	}},
	{"ChangedFiresForMessages", func(w *world) {
		if w.lacks(messages) {
			return
		}
		for i := range 20 {
			changed := w.j.Changed()
			w.must(newBatch(message(fmt.Sprint(i), "")))
			w.await(changed, "Changed")
		}
	}},
}

// message is a message whose every field tells which one it is.
func message(id, key string) envelope.Message {
	return envelope.Message{
		ID: id, Kind: envelope.KindEvent, Name: "todo.happened", Key: key, ContentType: "application/json", Codec: envelope.CodecJSON,
		Data: fmt.Appendf(nil, `{"message":%q}`, id), Time: at(uint64(len(id))), Source: stream("source"), SourceVersion: uint64(len(key)),
		Metadata: envelope.Metadata{CorrelationID: "c" + id},
	}
}

// outbox reads messages, and demands that their positions rise from 1.
func (w *world) outbox(after uint64, limit int) []envelope.StoredMessage {
	w.Helper()
	all, err := drainMessages(w.j.Messages(w.ctx, after, limit))
	require.NoError(w, err)
	last := after
	for i := range all {
		require.Greater(w, all[i].Position, last, "position of message %q", all[i].ID)
		last = all[i].Position
	}
	return all
}

// drainMessages returns the messages, and the error that ends them.
func drainMessages(messages iter.Seq2[envelope.StoredMessage, error]) ([]envelope.StoredMessage, error) {
	var all []envelope.StoredMessage
	var failed error
	for m, err := range messages {
		if failed != nil {
			return all, fmt.Errorf("an error is not the last thing yielded: %w", failed)
		}
		if err != nil {
			failed = err
			continue
		}
		all = append(all, m)
	}
	return all, failed
}

// outboxHolds demands messages of exactly these ids, in any order.
func (w *world) outboxHolds(ids ...string) {
	w.Helper()
	got := []string{}
	for _, m := range w.outbox(0, 0) {
		got = append(got, m.ID)
	}
	require.ElementsMatch(w, ids, got, "messages in the outbox")
}

func (w *world) messageExists(err error, id string) {
	w.Helper()
	require.ErrorIs(w, err, journal.ErrMessageExists)
	var facts *journal.MessageExistsError
	require.ErrorAs(w, err, &facts)
	require.Equal(w, id, facts.ID)
}

// sameMessage demands that got is want as a journal keeps it.
func sameMessage(t tb, want envelope.Message, got envelope.StoredMessage) {
	t.Helper()
	require.Truef(t, want.Time.Truncate(time.Microsecond).Equal(got.Time), "time: want %v to the microsecond, got %v", want.Time, got.Time)
	require.Equal(t, string(want.Data), string(got.Data), "data")
	require.Equal(t, flat(want.Metadata), flat(got.Metadata), "metadata")
	require.Equal(t, want.Slot(), got.Slot, "slot of message %q", want.ID)
	want.Time, want.Data, want.Metadata = got.Time, got.Data, got.Metadata
	require.Equal(t, want, got.Message)
}
