package outbox

import (
	"context"
	"slices"
	"time"

	"github.com/troupe-go/troupe/journal"
)

// delayedPage is how many messages are made pending at a time.
const delayedPage = 1000

// timetable knows when to look for messages that were held back and are due.
// One that was stored since it looked can be due before it looks again, which is
// then up to PollInterval late.
type timetable struct {
	look time.Time
	more bool // the last page was full
}

// reset has it look at once.
func (t *timetable) reset() { *t = timetable{} }

// release has messages pending whose time has come, if it is time to look.
// settle tells the store. It returns the lowest position that is pending now, and
// 0 if none is.
func (t *timetable) release(
	ctx context.Context, d *Dispatcher, lanes []journal.SlotRange, settle func(journal.Settlement) error,
) (lowest uint64, err error) {
	now := time.Now()
	if now.Before(t.look) {
		return 0, nil
	}
	page, err := d.outbox.Delayed(ctx, journal.DelayedQuery{Slots: lanes, Until: now, Limit: delayedPage})
	if err != nil {
		return 0, err
	}
	if len(page.Due) > 0 {
		if err := settle(journal.Settlement{Pending: page.Due}); err != nil {
			return 0, err
		}
		lowest = slices.Min(page.Due)
	}
	t.look, t.more = now.Add(d.opts.PollInterval), false
	if !page.Next.IsZero() && page.Next.Before(t.look) {
		t.look, t.more = page.Next, !page.Next.After(now)
	}
	return lowest, nil
}
