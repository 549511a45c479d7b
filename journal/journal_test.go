package journal_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
	"github.com/troupe-go/troupe/journal/memory"
)

func TestFeaturesCheck(t *testing.T) {
	t.Parallel()
	everything := journal.Features{Name: "x", Messages: true, Rows: true, Inbox: true, Fencing: true}
	require.NoError(t, everything.Check(whole()))
	for part, lack := range map[string]func(f *journal.Features){
		"messages":         func(f *journal.Features) { f.Messages = false },
		"rows":             func(f *journal.Features) { f.Rows = false },
		"fences":           func(f *journal.Features) { f.Fencing = false },
		"message receipts": func(f *journal.Features) { f.Inbox = false },
	} {
		f := everything
		lack(&f)
		err := f.Check(whole())
		require.ErrorIs(t, err, journal.ErrUnsupported)
		require.EqualError(t, err, "journal: x does not store "+part)
	}
	commands := &journal.Batch{Receipts: []envelope.Receipt{{Stream: stream("a"), ID: "1"}}}
	require.NoError(t, journal.Features{}.Check(commands), "receipts of commands are always taken")
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	s := stream("42")
	for text, err := range map[string]error{
		"journal: stream todo/42 is at version 6, expected 5": &journal.ConflictError{Stream: s, Expected: 5, Actual: 6},
		"journal: receipt is stored already":                  &journal.DuplicateError{},
		`journal: command "c1" had its effect on stream todo/42 already`: &journal.DuplicateError{
			Receipts: []envelope.Receipt{{Stream: s, ID: "c1"}}},
		`journal: message "m1" had its effect on consumer mailer already`: &journal.DuplicateError{
			Receipts: []envelope.Receipt{{Consumer: "mailer", ID: "m1"}}},
	} {
		require.EqualError(t, err, text)
		require.NotErrorIs(t, err, journal.ErrClosed)
	}
	require.ErrorIs(t, &journal.ConflictError{}, journal.ErrConflict)
	require.ErrorIs(t, &journal.DuplicateError{}, journal.ErrDuplicate)
}

// slow is a journal whose credit and answers come when the test says so.
type slow struct {
	journal.Journal
	refusals int           // how often Credit says no first
	asked    chan func()   // gets each ready
	answers  chan func()   // gets each answer, to be called
	sent     chan struct{} // closed by the first Submit
}

func newSlow(t *testing.T, refusals int) *slow {
	j, err := memory.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return &slow{
		Journal: j, refusals: refusals, asked: make(chan func(), 10), answers: make(chan func(), 10), sent: make(chan struct{}),
	}
}

func (s *slow) Credit(_, _ int, ready func()) bool {
	if s.refusals == 0 {
		return true
	}
	s.refusals--
	s.asked <- ready
	return false
}

func (s *slow) Submit(b *journal.Batch, done func(journal.Result, error)) {
	s.Journal.Submit(b, func(res journal.Result, err error) { s.answers <- func() { done(res, err) } })
	close(s.sent)
}

func one() *journal.Batch {
	return &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{events("a", 0, 1)}}
}

var errReason = errors.New("the reason")

func TestCommitWaitsForCreditAndAnswer(t *testing.T) {
	t.Parallel()
	j := newSlow(t, 1)
	result := make(chan error)
	go func() {
		_, err := journal.Commit(t.Context(), j, one())
		result <- err
	}()
	ready := <-j.asked
	require.Empty(t, j.answers)
	ready() // it is not asked again: whoever waited has waited
	(<-j.answers)()
	require.NoError(t, <-result)
}

func TestCommitOfAnEndedContextSubmitsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errReason)
	j := newSlow(t, 0)
	_, err := journal.Commit(ctx, j, one())
	require.ErrorIs(t, err, errReason)
	require.NotErrorIs(t, err, journal.ErrUnknownOutcome)
	latest, err := j.LoadLatest(t.Context(), stream("a"))
	require.NoError(t, err)
	require.Zero(t, latest.Version)
}

func TestCommitThatWaitsForCreditEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	j := newSlow(t, 1)
	result := make(chan error)
	go func() {
		_, err := journal.Commit(ctx, j, one())
		result <- err
	}()
	ready := <-j.asked
	cancel(errReason)
	err := <-result
	require.ErrorIs(t, err, errReason)
	require.NotErrorIs(t, err, journal.ErrUnknownOutcome)
	ready() // late, and harmless
}

func TestCommitWhoseContextEndsAfterSubmitIsUnknown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	j := newSlow(t, 0)
	result := make(chan error)
	b := one()
	go func() {
		_, err := journal.Commit(ctx, j, b)
		result <- err
	}()
	<-j.sent
	cancel(errReason)
	err := <-result
	require.ErrorIs(t, err, journal.ErrUnknownOutcome)
	require.ErrorIs(t, err, errReason)
	(<-j.answers)() // nobody listens any more, and done does not block

	again := *b
	again.Resubmit = true
	_, err = journal.Commit(t.Context(), j.Journal, &again)
	require.NoError(t, err, "a resubmission settles it")
}

func TestCommitPassesErrorsOn(t *testing.T) {
	t.Parallel()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	_, err = journal.Commit(t.Context(), j, &journal.Batch{ID: journal.NewBatchID(), Appends: []journal.Append{events("a", 4, 1)}})
	require.Equal(t, &journal.ConflictError{Stream: stream("a"), Expected: 4}, err)
	require.NoError(t, j.Close())
	_, err = journal.Commit(t.Context(), j, one())
	require.ErrorIs(t, err, journal.ErrClosed)
}

// hasty is a journal that gives credit to all who ask and takes the batch of every
// n-th only.
type hasty struct {
	journal.Journal
	n, calls int
}

func (h *hasty) Credit(int, int, func()) bool { return true }

func (h *hasty) Submit(_ *journal.Batch, done func(journal.Result, error)) {
	if h.calls++; h.calls%h.n != 0 {
		done(journal.Result{}, journal.ErrOverloaded)
		return
	}
	done(journal.Result{}, nil)
}

// Credit reserves nothing: many may be told at once that there is room. Who was told
// so and came too late asks again, and not for ever.
func TestCommitAsksAgainForCredit(t *testing.T) {
	t.Parallel()
	_, err := journal.Commit(t.Context(), &hasty{n: 3}, &journal.Batch{ID: journal.NewBatchID()})
	require.NoError(t, err)
	h := &hasty{n: 1000}
	_, err = journal.Commit(t.Context(), h, &journal.Batch{ID: journal.NewBatchID()})
	require.ErrorIs(t, err, journal.ErrOverloaded)
	require.Less(t, h.calls, 20)
}
