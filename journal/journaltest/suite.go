package journaltest

import (
	"testing"

	"github.com/troupe-go/troupe/journal"
)

// Harness is one journal under test.
type Harness struct {
	// Journal is empty and belongs to the suite, which closes it.
	Journal journal.Journal

	// Reopen opens the data of Journal again, which the suite has closed. Nil
	// says that the adapter is not durable. It may be called several times.
	Reopen func(t testing.TB) journal.Journal

	// QueueBytes is the bound of the queue with which Journal was opened. Make
	// it small, a MiB or less, so that the suite can fill it. Zero says that
	// nothing queues: Credit is always true.
	QueueBytes int

	// Tables makes tables of read models in the store of Journal, which is
	// open; their rows are written afterwards. Nil says that any table exists
	// and that any row has the columns which were written to it. An adapter
	// that makes them before it opens, from [Tables], has one that does nothing.
	Tables func(t testing.TB, tables []Table)

	// Second opens one more journal on the data of Journal while that is open,
	// as another process does. The suite closes it. Nil says that the data
	// belongs to one journal at a time.
	Second func(t testing.TB) journal.Journal

	// Hold writes b, which fits, to the data of Journal through another
	// connection, and leaves it uncommitted until release is called, which
	// commits it or rolls it back. Nil says that no other connection can.
	Hold func(t testing.TB, b *journal.Batch) (release func(commit bool))
}

// Open makes a fresh journal for one subtest. What else has to be cleaned up
// goes to t.Cleanup.
type Open func(t testing.TB) Harness

// Case is one promise.
type Case struct {
	Name string // the promise: "StaleExpectedVersionWritesNothing"
	run  func(w *world)
}

// Run checks one promise on a journal of its own.
func (c Case) Run(t testing.TB, open Open) {
	t.Helper()
	c.run(newWorld(t, open))
}

// Run checks every promise, each as a parallel subtest. A promise that does
// not apply to the adapter is skipped with the reason.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, open)
		})
	}
}

// Cases lists every promise, for whoever runs them on another testing.TB than
// that of go test.
func Cases() []Case {
	var all []Case
	for _, some := range [][]Case{
		gateCases, queueCases, batchCases, receiptCases, resubmitCases, snapshotCases,
		loadCases, fidelityCases, readAllCases, creditCases, closeCases,
		messageCases, outboxCases, delayedCases, rowCases, inboxCases, wholeCases, mixedCases, writerCases,
		truncationCases, scavengeCases, boundCases, sliceCases, endedCases,
	} {
		all = append(all, some...)
	}
	return all
}
