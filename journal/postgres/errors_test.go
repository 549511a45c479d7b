package postgres

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/journal"
)

func TestEachSQLSTATEHasItsClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, severity                       string
		rolledBack, transient, deterministic bool
	}{
		{"40001", "ERROR", true, true, false},  // serialization_failure
		{"40P01", "ERROR", true, true, false},  // deadlock_detected
		{"22P02", "ERROR", true, false, true},  // invalid_text_representation
		{"23505", "ERROR", true, false, true},  // unique_violation
		{"23514", "ERROR", true, false, true},  // check_violation
		{"42P01", "ERROR", true, false, true},  // undefined_table
		{"42501", "ERROR", true, false, false}, // insufficient_privilege
		{"54000", "ERROR", true, false, true},  // program_limit_exceeded
		{"57014", "ERROR", true, false, false}, // query_canceled: statement_timeout
		{"55P03", "ERROR", true, false, false}, // lock_not_available
		{"53100", "ERROR", true, false, false}, // disk_full
		{"25006", "ERROR", true, false, false}, // read_only_sql_transaction
		{"57P01", "FATAL", false, false, false},
		{"57P02", "FATAL", false, false, false},
		{"XX000", "PANIC", false, false, false},
	} {
		err := fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: c.code, Severity: c.severity, SeverityUnlocalized: c.severity})
		require.Equal(t, c.rolledBack, rolledBack(err), "%s: rolled back", c.code)
		require.Equal(t, c.transient, transient(err), "%s: transient", c.code)
		require.Equal(t, c.deterministic, deterministic(err), "%s: deterministic", c.code)
		require.ErrorIs(t, typed("test", err), journal.ErrUnavailable)
	}
	require.False(t, rolledBack(io.ErrUnexpectedEOF), "the answer was lost")
	require.False(t, deterministic(errors.New("no code")))
	require.ErrorIs(t, typed("test", &pgconn.PgError{Code: "XX001"}), journal.ErrCorrupt)
}

func TestUnfitServerIsUnavailable(t *testing.T) {
	t.Parallel()
	err := error(&UnfitError{Setting: "server_version_num", Found: "120011", Want: "130000 or later"})
	require.ErrorIs(t, err, ErrUnfit)
	require.ErrorIs(t, err, journal.ErrUnavailable)
	require.EqualError(t, err, "postgres: the server's server_version_num is 120011, want 130000 or later")
}
