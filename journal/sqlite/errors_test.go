package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
)

// coded stands for a driver's error with a result code.
type coded int

func (c coded) Error() string { return fmt.Sprint("code ", int(c)) }
func (c coded) Code() int     { return int(c) }

func TestEachCodeHasItsError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code           int
		before, commit error
	}{
		{5, journal.ErrUnavailable, journal.ErrUnavailable},            // SQLITE_BUSY
		{6, journal.ErrUnavailable, journal.ErrUnavailable},            // SQLITE_LOCKED
		{8, journal.ErrUnavailable, journal.ErrUnavailable},            // SQLITE_READONLY
		{13, journal.ErrUnavailable, journal.ErrUnavailable},           // SQLITE_FULL
		{517, journal.ErrUnavailable, journal.ErrUnavailable},          // SQLITE_BUSY_SNAPSHOT
		{10, journal.ErrUnavailable, journal.ErrUnknownOutcome},        // SQLITE_IOERR
		{10 | 4<<8, journal.ErrUnavailable, journal.ErrUnknownOutcome}, // SQLITE_IOERR_FSYNC
		{7, journal.ErrUnavailable, journal.ErrUnknownOutcome},         // SQLITE_NOMEM
		{11, journal.ErrCorrupt, journal.ErrUnknownOutcome},            // SQLITE_CORRUPT
		{26, journal.ErrCorrupt, journal.ErrUnknownOutcome},            // SQLITE_NOTADB
		{2067, journal.ErrCorrupt, journal.ErrCorrupt},                 // SQLITE_CONSTRAINT_UNIQUE
	} {
		cause := fmt.Errorf("wrapped: %w", coded(c.code))
		err := typed("test", cause)
		require.ErrorIs(t, err, c.before, "code %d", c.code)
		require.ErrorIs(t, err, coded(c.code))
		err = typedCommit(cause, false)
		require.ErrorIs(t, err, c.commit, "code %d at COMMIT", c.code)
		require.ErrorIs(t, err, coded(c.code))
	}
	require.ErrorIs(t, typedCommit(errors.New("bad connection"), true), journal.ErrUnknownOutcome)
	require.ErrorIs(t, typedCommit(coded(787), true), journal.ErrInvalid, "SQLITE_CONSTRAINT_FOREIGNKEY, deferred")
}
