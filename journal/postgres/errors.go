package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/journal"
)

// ErrSchema reports a database whose schema is not the one that this program
// works with. The facts are in a [SchemaError].
var ErrSchema = errors.New("postgres: wrong schema")

// SchemaError is the [ErrSchema] of one database.
type SchemaError struct {
	Schema      string
	Found, Want int64 // migrations; Found is 0 if there is no journal at all

	// Missing are tables that are not there although the migrations say so:
	// somebody dropped them. Restore them from a backup.
	Missing []string
}

func (e *SchemaError) Error() string {
	switch {
	case len(e.Missing) > 0:
		return fmt.Sprintf("postgres: schema %q is at migration %d, and lacks %s: restore them from a backup", e.Schema, e.Found, strings.Join(e.Missing, ", "))
	case e.Found == 0:
		return fmt.Sprintf("postgres: schema %q has no journal: call postgres.Migrate or OpenAndMigrate to create it", e.Schema)
	case e.Found < e.Want:
		return fmt.Sprintf("postgres: schema %q is at migration %d, this program works with %d: call postgres.Migrate or OpenAndMigrate", e.Schema, e.Found, e.Want)
	default:
		return fmt.Sprintf("postgres: schema %q is at migration %d, this program works with %d: run a newer program", e.Schema, e.Found, e.Want)
	}
}

// Is reports whether target is [ErrSchema].
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// ErrUnfit reports a server that cannot keep a journal as it is. The facts are
// in an [UnfitError].
var ErrUnfit = errors.New("postgres: unfit server")

// UnfitError is the [ErrUnfit] of one server. It is also a
// [journal.ErrUnavailable].
type UnfitError struct {
	Setting     string // "server_version"
	Found, Want string
}

func (e *UnfitError) Error() string {
	return fmt.Sprintf("postgres: the server's %s is %s, want %s", e.Setting, e.Found, e.Want)
}

// Is reports whether target is [ErrUnfit] or [journal.ErrUnavailable].
func (e *UnfitError) Is(target error) bool {
	return target == ErrUnfit || target == journal.ErrUnavailable
}

// SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeSerialization  = "40001"
	codeDeadlock       = "40P01"
	codeUnique         = "23505"
	codeNotNull        = "23502"
	codePrivilege      = "42501"
	codeLockTimeout    = "55P03"
	codeReadOnly       = "25006"
	codeNotBoolean     = "22P02" // invalid text representation
	codeUndefinedTable = "42P01"
	codeInvalidSchema  = "3F000"
)

// codeOf is the SQLSTATE of err, and "" if the server did not send it.
func codeOf(err error) string {
	var sent *pgconn.PgError
	if errors.As(err, &sent) {
		return sent.Code
	}
	return ""
}

// rolledBack reports whether err says for sure that the transaction whose
// commit was sent is not stored. A session that is ended from outside sends an
// error too, of severity FATAL; the commit may have come before it.
func rolledBack(err error) bool {
	var sent *pgconn.PgError
	if errors.As(err, &sent) {
		return sent.SeverityUnlocalized == "ERROR" || sent.SeverityUnlocalized == "" && sent.Severity == "ERROR"
	}
	return pgconn.SafeToRetry(err)
}

// transient reports whether the same transaction may well pass next time.
func transient(err error) bool {
	code := codeOf(err)
	return code == codeSerialization || code == codeDeadlock
}

// deterministic reports whether err is the fault of what was to be stored: it
// will come again.
func deterministic(err error) bool {
	code := codeOf(err)
	if len(code) != 5 || code == codePrivilege {
		return false
	}
	switch code[:2] {
	case "21", "22", "23", "42", "44", "54", "P0", "3F":
		return true
	}
	return code == "0A000" || code == "55000"
}

// typed is the contract's error for one of the driver's that came before a
// commit was tried: nothing was stored.
func typed(doing string, err error) error {
	for _, ours := range []error{journal.ErrCorrupt, journal.ErrClosed, journal.ErrUnavailable, journal.ErrHistoryGone, journal.ErrInvalid, ErrSchema} {
		if errors.Is(err, ours) {
			return err
		}
	}
	if code := codeOf(err); code == "XX001" || code == "XX002" { // data_corrupted, index_corrupted
		return fmt.Errorf("postgres: %s: %w: %w", doing, journal.ErrCorrupt, err)
	}
	return fmt.Errorf("postgres: %s: %w: %w", doing, journal.ErrUnavailable, err)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("postgres: %w: %s", journal.ErrCorrupt, fmt.Sprintf(format, args...))
}
