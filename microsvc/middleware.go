package microsvc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
)

// Middleware is put around handlers and their guards by [Service.Use]. A panic
// anywhere in a call becomes a [PanicError]; no middleware is needed for that.
type Middleware func(next HandlerFunc) HandlerFunc

// recovered makes an error of a panic.
func recovered(next HandlerFunc) HandlerFunc {
	return func(c *Context) (reply any, err error) {
		defer func() {
			if v := recover(); v != nil {
				reply, err = nil, &PanicError{Name: c.Name(), Value: v, Stack: debug.Stack()}
			}
		}()
		return next(c)
	}
}

// Log writes one line per call: its name, id, status and time, and never its
// input. Successes are logged at level info, failures at warn and those of the
// service at error. A nil logger is slog.Default().
func Log(logger *slog.Logger) Middleware {
	return func(next HandlerFunc) HandlerFunc {
		return func(c *Context) (any, error) {
			l, began := logger, time.Now()
			if l == nil {
				l = slog.Default()
			}
			reply, err := recovered(next)(c)
			status, level := Status(err), slog.LevelInfo
			attrs := []slog.Attr{
				slog.String("name", c.Name()), slog.String("id", c.message.ID),
				slog.Int("status", status), slog.Duration("took", time.Since(began)),
			}
			if err != nil {
				level = slog.LevelWarn
				if status >= 500 {
					level = slog.LevelError
				}
				attrs = append(attrs, slog.Any("err", err))
			}
			l.LogAttrs(c, level, "microsvc: "+c.Kind().String(), attrs...)
			return reply, err
		}
	}
}

// Timeout gives calls a deadline, unless they have an earlier one. A handler that
// does not look at its context goes on regardless; what it asks of aggregates
// then is not run.
func Timeout(d time.Duration) Middleware {
	return func(next HandlerFunc) HandlerFunc {
		return func(c *Context) (any, error) {
			ctx, cancel := context.WithTimeoutCause(c.Context, d, fmt.Errorf("%q took more than %s: %w", c.Name(), d, context.DeadlineExceeded))
			defer cancel()
			return next(c.With(ctx))
		}
	}
}

// Limit lets at most n calls run at once, over all handlers that this middleware is
// around; others are [aggregate.ErrOverloaded] at once. n below 1 is 1.
func Limit(n int) Middleware {
	running := make(chan struct{}, max(n, 1))
	return func(next HandlerFunc) HandlerFunc {
		return func(c *Context) (any, error) {
			select {
			case running <- struct{}{}:
			default:
				return nil, fmt.Errorf("%w: %d calls run already", aggregate.ErrOverloaded, cap(running))
			}
			defer func() { <-running }()
			return next(c)
		}
	}
}

// Authenticate calls check before the guards of every command: it may replace the
// session ([Context.SetSession]), and refuses the call by an error, as a [Guard]
// does. Events come from the bus, which is trusted, and are let through.
func Authenticate(check func(*Context) error) Middleware {
	return func(next HandlerFunc) HandlerFunc {
		return func(c *Context) (any, error) {
			if c.Kind() == envelope.KindCommand {
				if err := pass(c, []Guard{check}); err != nil {
					return nil, err
				}
			}
			return next(c)
		}
	}
}
