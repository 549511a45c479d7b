package teller

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/troupe-go/troupe/examples/bank/statement"
)

// MaxRejected bounds how many rejected lines a [Report] lists; all are counted.
const MaxRejected = 10_000

// Rejected is a line that was not booked.
type Rejected struct {
	Line   int
	Reason string
}

// Report says what became of a statement.
type Report struct {
	Settled     int        // lines dealt with, booked or not
	Booked      int        // lines that were booked, in this run or before
	Refused     int        // lines that were not
	Returned    int        // transfers whose target refused: the money went back
	Remembered  int        // lines that an earlier run had dealt with
	Rejected    []Rejected // the refused lines, ordered by number, at most MaxRejected
	Deposited   int64      // cents that came into the bank
	Withdrawn   int64      // cents that left it
	Accounts    []string   // that the statement names, in order
	Interrupted bool

	Took time.Duration // the run
	P99  time.Duration // within which 99 of 100 lines were booked, waiting for other lines not counted

	mu    sync.Mutex
	names map[string]struct{}
	times histogram
}

func newReport() *Report { return &Report{names: map[string]struct{}{}} }

func (r *Report) reject(line int, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Refused++
	if len(r.Rejected) < MaxRejected {
		r.Rejected = append(r.Rejected, Rejected{line, reason})
	}
}

func (r *Report) book(line statement.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Booked++
	switch line.Action {
	case statement.Deposit:
		r.Deposited += line.Cents
	case statement.Withdraw:
		r.Withdrawn += line.Cents
	}
}

func (r *Report) touch(ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.names[id] = struct{}{}
	}
}

func (r *Report) compensated() { r.mu.Lock(); defer r.mu.Unlock(); r.Returned++ }
func (r *Report) remembered()  { r.mu.Lock(); defer r.mu.Unlock(); r.Remembered++ }

func (r *Report) settle() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Settled++
	return r.Settled
}

func (r *Report) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times.add(d)
}

// finish computes what is known only at the end.
func (r *Report) finish(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Took, r.P99 = took, r.times.quantile(99)
	r.Accounts = slices.Sorted(maps.Keys(r.names))
	slices.SortFunc(r.Rejected, func(a, b Rejected) int { return cmp.Compare(a.Line, b.Line) })
}

// histogram counts durations in buckets an eighth of a power of two wide, so
// that a quantile is right within 13 % and memory is bounded.
type histogram struct {
	counts [64 * 8]int
	total  int
}

func (h *histogram) add(d time.Duration) {
	n := uint64(max(d, 8)) // nanoseconds; three bits behind the first one
	top := bits.Len64(n) - 1
	h.counts[top*8+int(n>>(top-3)&7)]++
	h.total++
}

// quantile returns the upper end of the bucket that percent of all lie in or
// below.
func (h *histogram) quantile(percent int) time.Duration {
	left := (h.total*percent + 99) / 100
	for i, n := range h.counts {
		if left -= n; left <= 0 && h.total > 0 {
			top, eighth := i/8, i%8
			return time.Duration((uint64(8+eighth+1)<<top)/8 - 1)
		}
	}
	return 0
}
