package actor

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal"
)

var errBreakerOpen = fmt.Errorf("%w: it did not answer a moment ago", aggregate.ErrUnavailable)

// breaker makes commands fail fast while the journal is away. Once per wait it
// lets one attempt through; the first that succeeds closes it again.
type breaker struct {
	base   time.Duration
	logger *slog.Logger

	open atomic.Bool // read without the lock on every turn

	mu    sync.Mutex
	wait  time.Duration
	until time.Time // the next attempt
}

// allow reports whether the journal may be tried now.
func (b *breaker) allow() bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(b.wait) // this one is the attempt; it need not report back
	return true
}

// success notes that the journal answered.
func (b *breaker) success() {
	if !b.open.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open.Swap(false) {
		b.logger.Info("journal is back")
	}
	b.wait = 0
}

// failure opens the breaker if err says that the journal is away, and reports
// whether it does.
func (b *breaker) failure(err error) bool {
	if !errors.Is(err, journal.ErrUnavailable) && !errors.Is(err, journal.ErrUnknownOutcome) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.open.Swap(true) {
		if now.Before(b.until) {
			return true // one of many that failed together
		}
		b.wait = min(2*b.wait, 10*b.base)
	} else {
		b.wait = b.base
		b.logger.Error("journal is unavailable: commands fail fast", slog.Any("error", err))
	}
	b.until = now.Add(b.wait)
	return true
}
