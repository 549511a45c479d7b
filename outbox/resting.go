package outbox

import (
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// resting knows the messages that failed while the broker confirmed others: each
// waits for its next attempt, and so does its ordering key. They are few: the
// zero value, with its options, knows none.
type resting struct {
	opts      *Options
	byID      map[string]*failure
	confirmed int64 // messages so far, of any key
}

// failure is one message that failed.
type failure struct {
	key      string
	position uint64
	tries    int   // all failures
	attempts int   // those that count
	seen     int64 // confirmed at the last one
	due      time.Time
}

func (r *resting) clear() { r.byID = nil }

// fail notes one more failure of m, and returns how many count: those between
// which others were confirmed.
func (r *resting) fail(m *envelope.StoredMessage, now time.Time) int {
	f := r.byID[m.ID]
	if f == nil {
		if r.byID == nil {
			r.byID = map[string]*failure{}
		}
		f = &failure{key: m.OrderingKey(), position: m.Position, seen: -1}
		r.byID[m.ID] = f
	}
	if r.confirmed > f.seen {
		f.attempts++
	}
	f.tries++
	f.seen = r.confirmed
	f.due = now.Add(r.opts.backoff(f.tries))
	return f.attempts
}

// known reports whether m failed before while others were confirmed.
func (r *resting) known(m *envelope.StoredMessage) bool { return r.byID[m.ID] != nil }

// knows reports whether all first messages of their keys are known.
func (r *resting) knows(due []envelope.StoredMessage) bool {
	first := map[string]bool{}
	for i := range due {
		key := due[i].OrderingKey()
		if (key == "" || !first[key]) && !r.known(&due[i]) {
			return false
		}
		first[key] = true
	}
	return true
}

func (r *resting) forget(m *envelope.StoredMessage) { delete(r.byID, m.ID) }

func (r *resting) attempts(m *envelope.StoredMessage) int {
	if f := r.byID[m.ID]; f != nil {
		return f.attempts
	}
	return 0
}

// keys are the ordering keys that wait.
func (r *resting) keys(now time.Time) (keys []string) {
	for _, f := range r.byID {
		if f.key != "" && now.Before(f.due) && len(keys) < maxResting {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// maxResting bounds how many keys are left out of a page; that of the journal is
// larger.
const maxResting = 5000

// kept counts messages that wait and cannot be left out of a page, because they
// have no key or there are too many: it is to be larger.
func (r *resting) kept(now time.Time, leftOut int) (n int) {
	for _, f := range r.byID {
		if now.Before(f.due) {
			n++
		}
	}
	return n - leftOut
}

// at returns what waits at a moment.
func (r *resting) at(now time.Time) restingNow {
	w := restingNow{ids: map[string]struct{}{}, keys: map[string]struct{}{}}
	for id, f := range r.byID {
		if !now.Before(f.due) {
			continue
		}
		w.ids[id] = struct{}{}
		if f.key != "" {
			w.keys[f.key] = struct{}{}
		}
	}
	return w
}

// restingNow is the messages, and the ordering keys, that wait at a moment.
type restingNow struct{ ids, keys map[string]struct{} }

// has reports whether m waits, or its key does. A page leaves most of those keys
// out, but not more than it can.
func (r restingNow) has(m *envelope.StoredMessage) bool {
	_, itself := r.ids[m.ID]
	_, key := r.keys[m.OrderingKey()]
	return itself || key
}

// lowest is the lowest position that waits, and 0 if none does.
func (r *resting) lowest() (lowest uint64) {
	for _, f := range r.byID {
		if lowest == 0 || f.position < lowest {
			lowest = f.position
		}
	}
	return lowest
}

// next is when the first one is due.
func (r *resting) next() (due time.Time, some bool) {
	for _, f := range r.byID {
		if !some || f.due.Before(due) {
			due, some = f.due, true
		}
	}
	return due, some
}
