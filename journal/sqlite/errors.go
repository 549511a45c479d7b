package sqlite

import (
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/journal"
)

// ErrSchema reports a database whose schema is not the one that this program
// works with. The facts are in a [SchemaError].
var ErrSchema = errors.New("sqlite: wrong schema")

// SchemaError is the [ErrSchema] of one database.
type SchemaError struct {
	Path        string
	Found, Want int64  // migrations; Found is 0 if there is no schema at all
	Call        string // what brings an older one up to date: "sqlite.OpenAndMigrate"
	Missing     string // a table that should be there, if Found is Want
}

func (e *SchemaError) Error() string {
	switch {
	case e.Missing != "":
		return fmt.Sprintf("sqlite: %s has schema %d, but no table %s: restore it from a backup", e.Path, e.Found, e.Missing)
	case e.Found == 0:
		return fmt.Sprintf("sqlite: %s has no journal: call %s to create it", e.Path, e.Call)
	case e.Found < e.Want:
		return fmt.Sprintf("sqlite: %s has schema %d, this program works with %d: call %s", e.Path, e.Found, e.Want, e.Call)
	default:
		return fmt.Sprintf("sqlite: %s has schema %d, this program works with %d: run a newer program", e.Path, e.Found, e.Want)
	}
}

// Is reports whether target is [ErrSchema].
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// Primary result codes, https://sqlite.org/rescode.html. The upper bits of a
// code say more and are not needed.
const (
	codeError      = 1
	codeBusy       = 5
	codeLocked     = 6
	codeReadOnly   = 8
	codeCorrupt    = 11
	codeFull       = 13
	codeTooBig     = 18
	codeConstraint = 19
	codeMismatch   = 20
	codeNotADB     = 26
)

// codeOf is the primary result code of err, and 0 if it has none.
func codeOf(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code() & 0xff
	}
	return 0
}

// damaged reports whether err says that what is stored is wrong: the tables'
// constraints hold whenever the heads are right.
func damaged(err error) bool {
	switch codeOf(err) {
	case codeCorrupt, codeNotADB, codeConstraint, codeMismatch:
		return true
	}
	return errors.Is(err, journal.ErrCorrupt)
}

// typed is the contract's error for one of the driver's that came before a
// commit was tried: nothing was stored.
func typed(doing string, err error) error {
	switch {
	case isOurs(err):
		return err
	case damaged(err):
		return fmt.Errorf("sqlite: %s: %w: %w", doing, journal.ErrCorrupt, err)
	default:
		return fmt.Errorf("sqlite: %s: %w: %w", doing, journal.ErrUnavailable, err)
	}
}

// isOurs reports whether err is the contract's already.
func isOurs(err error) bool {
	for _, ours := range [...]error{
		journal.ErrCorrupt, journal.ErrHistoryGone, journal.ErrClosed, journal.ErrUnavailable, journal.ErrInvalid, ErrSchema,
	} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

// typedCommit is the contract's error for one of COMMIT.
//
// A lock that was not given and a full disk come before the frame that makes
// the transaction count is whole in the log, so nothing was stored. After any
// other error, that of a sync above all, the frame may be in the file: this
// process does not see it and overwrites it with its next commit, but a crash
// before that makes it count. With rows, a constraint that a read model's table
// checks at the end is the batch's fault.
func typedCommit(err error, rows bool) error {
	switch codeOf(err) {
	case codeConstraint:
		if rows {
			return fmt.Errorf("sqlite: commit: %w: %w", journal.ErrInvalid, err)
		}
		return typed("commit", err)
	case codeBusy, codeLocked, codeReadOnly, codeFull:
		return typed("commit", err)
	}
	return fmt.Errorf("sqlite: commit: %w: %w", journal.ErrUnknownOutcome, err)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("sqlite: %w: %s", journal.ErrCorrupt, fmt.Sprintf(format, args...))
}
