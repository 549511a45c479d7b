package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/internal/slotlease"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/snapshot"
)

// DefaultReceiptRetention is how long the receipt of a command or a message is
// remembered unless [Options] say otherwise.
const DefaultReceiptRetention = 24 * time.Hour

// Options tune a [Journal]. A nil *Options means all defaults.
type Options struct {
	// ReceiptRetention is how long the receipt of a command or a message is
	// remembered, by this process's clock. It has to cover the longest time
	// after which one may come again. Zero means [DefaultReceiptRetention].
	ReceiptRetention time.Duration
}

// Journal stores streams in memory until it is closed.
//
// Records lie in one log, in blocks that never move; a stream is the list of
// its places in that log. What is written is never changed, only replaced by a
// copy without what was scavenged, so a reader takes the lock only to note how
// far the log goes, and reads without it: it neither waits for a writer nor
// makes one wait.
type Journal struct {
	retention time.Duration

	mu       sync.Mutex
	log      log
	streams  map[envelope.Stream]*stream
	receipts receipts
	outbox   outbox
	rows     rows
	batches  batches
	changed  chan struct{} // nil while nobody listens
	closed   bool

	leases slotlease.Table // on slots of the outbox

	truncated  map[*stream]struct{} // those with records to scavenge
	scavenging chan struct{}        // holds one while Scavenge runs

	// answering counts the calls of Submit that have committed and have yet
	// to return from done. Add happens under mu, and not once closed is set.
	answering sync.WaitGroup
}

var _ journal.Journal = (*Journal)(nil)

// log is all records in the order of their positions: the record at position p
// is item p-1.
type log = blocks[entry]

// entry is one stored record and the batch that wrote it.
type entry struct {
	record envelope.Record
	batch  journal.BatchID
}

// stream is what the journal knows of one stream; its fields belong to
// [Journal].mu.
type stream struct {
	name      envelope.Stream    // shared by all its records, which so keep no other copy alive
	first     uint64             // the version that replay begins with
	scavenged uint64             // versions up to this one are gone
	numbers   []uint64           // numbers[v-1-scavenged] is the number of version v in the log
	snapshot  *snapshot.Snapshot // nil without; never changed, only replaced
}

// number is the number in the log of a version that was not scavenged.
func (st *stream) number(version uint64) uint64 { return st.numbers[version-1-st.scavenged] }

// head is the version of st; a nil st is a stream that does not exist.
func (st *stream) head() uint64 {
	if st == nil {
		return 0
	}
	return st.scavenged + uint64(len(st.numbers))
}

// Open makes an empty journal.
//
// Errors: [envelope.ErrInvalid], naming the option and its value.
func Open(opts *Options) (*Journal, error) {
	j := &Journal{
		retention:  DefaultReceiptRetention,
		streams:    make(map[envelope.Stream]*stream),
		truncated:  make(map[*stream]struct{}),
		scavenging: make(chan struct{}, 1),
	}
	if opts != nil && opts.ReceiptRetention != 0 {
		j.retention = opts.ReceiptRetention
	}
	if j.retention < 0 {
		return nil, fmt.Errorf("memory: %w",
			envelope.Invalid("option ReceiptRetention", j.retention.String(), "is negative"))
	}
	return j, nil
}

// Features says that the journal is not durable and takes everything but
// fences.
func (j *Journal) Features() journal.Features { return features }

var features = journal.Features{Name: "memory", Messages: true, Rows: true, Inbox: true, Truncation: true}

// Credit is always true: nothing queues.
func (j *Journal) Credit(int, int, func()) bool { return true }

// Changed returns a channel that is closed when events or messages are stored
// next, and at the latest by [Journal.Close].
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
		if j.closed {
			close(j.changed)
		}
	}
	return j.changed
}

// wake tells whoever listens on [Journal.Changed]; the caller holds mu.
func (j *Journal) wake() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// Close drops everything. It waits until each batch that was committed has
// been answered. A second call waits too and returns nil.
func (j *Journal) Close() error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		j.wake()
		j.log, j.streams, j.receipts, j.outbox, j.rows, j.batches, j.truncated = log{}, nil, receipts{}, outbox{}, rows{}, batches{}, nil
	}
	j.mu.Unlock()
	j.answering.Wait()
	return nil
}
