package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	stream := spec.Stream("1")
	for code, errs := range map[aggregate.Code][]error{
		aggregate.CodeRejected:       {aggregate.ErrRejected, aggregate.Reject("no")},
		aggregate.CodeNotFound:       {aggregate.ErrNotFound, aggregate.NotFound(stream)},
		aggregate.CodeUnauthorized:   {aggregate.ErrUnauthorized, aggregate.Unauthorized("no")},
		aggregate.CodeInvalid:        {aggregate.ErrInvalid, envelope.Invalid("id", "", "is blank"), journal.ErrInvalid},
		aggregate.CodeConflict:       {aggregate.ErrConflict, &journal.ConflictError{Stream: stream}},
		aggregate.CodeOverloaded:     {aggregate.ErrOverloaded, journal.ErrOverloaded},
		aggregate.CodeUnavailable:    {aggregate.ErrUnavailable, journal.ErrUnavailable},
		aggregate.CodeUnknownOutcome: {aggregate.ErrUnknownOutcome, errors.Join(journal.ErrUnknownOutcome, context.Canceled), fmt.Errorf("%w: %w", journal.ErrUnavailable, journal.ErrUnknownOutcome)},
		aggregate.CodeNotRun:         {aggregate.ErrNotRun, fmt.Errorf("%w: %w", aggregate.ErrNotRun, context.Canceled)},
		aggregate.CodeStopped:        {aggregate.ErrStopped},
		aggregate.CodePanic:          {aggregate.ErrPanic, &aggregate.PanicError{Stream: stream}},
		aggregate.CodeInternal:       {errors.New("else"), aggregate.ErrReplay, &aggregate.ReplayError{Err: aggregate.ErrUnknownEvent}, context.Canceled},
	} {
		for _, err := range errs {
			require.Equal(t, code, aggregate.CodeOf(err), "%v", err)
			require.Equal(t, code, aggregate.CodeOf(fmt.Errorf("wrapped: %w", err)))
			if code == aggregate.CodeInternal {
				continue
			}
			require.ErrorIs(t, err, code.Sentinel())
			// What a client of another process makes of the code.
			require.ErrorIs(t, &aggregate.Error{Code: code, Message: "text"}, code.Sentinel())
		}
	}
	require.Empty(t, aggregate.CodeOf(nil))
	require.NoError(t, aggregate.CodeInternal.Sentinel())
	require.NoError(t, aggregate.Code("of a later version").Sentinel())
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	for code, want := range map[aggregate.Code]bool{
		aggregate.CodeRejected: false, aggregate.CodeNotFound: false, aggregate.CodeUnauthorized: false,
		aggregate.CodeInvalid: false, aggregate.CodeConflict: true, aggregate.CodeOverloaded: true,
		aggregate.CodeUnavailable: true, aggregate.CodeUnknownOutcome: false, aggregate.CodeNotRun: true,
		aggregate.CodeStopped: true, aggregate.CodePanic: false, aggregate.CodeInternal: false,
	} {
		require.Equal(t, want, code.Retryable(), "%s", code)
	}
}

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	require.EqualError(t, aggregate.Reject("only %d left", 3), "only 3 left")
	require.EqualError(t, aggregate.NotFound(spec.Stream("1")), "purse/1 not found")
	require.EqualError(t, &aggregate.PanicError{Stream: spec.Stream("1"), Command: "take", Value: "secret"}, `handler of command "take" panicked on purse/1`)
	cause := errors.New("cause")
	require.ErrorIs(t, &aggregate.Error{Code: aggregate.CodeInvalid, Err: cause}, cause)
}
