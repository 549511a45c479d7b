package pgbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/bus"
)

// ErrSchema reports a database without the tables of this bus, or with those of
// another version. The facts are in a [SchemaError].
var ErrSchema = errors.New("pgbus: wrong schema")

// SchemaError is the [ErrSchema] of one database.
type SchemaError struct {
	Schema      string
	Found, Want int64 // migrations; Found is 0 if there is no bus at all
}

func (e *SchemaError) Error() string {
	switch {
	case e.Found == 0:
		return fmt.Sprintf("pgbus: schema %q has no bus: call pgbus.Migrate or OpenAndMigrate to create it", e.Schema)
	case e.Found < e.Want:
		return fmt.Sprintf("pgbus: schema %q is at migration %d, this program works with %d: call pgbus.Migrate or OpenAndMigrate", e.Schema, e.Found, e.Want)
	default:
		return fmt.Sprintf("pgbus: schema %q is at migration %d, this program works with %d: run a newer program", e.Schema, e.Found, e.Want)
	}
}

// Is reports whether target is [ErrSchema].
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// codeOf is the SQLSTATE of err, and "" if the server did not send it;
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func codeOf(err error) string {
	var sent *pgconn.PgError
	if errors.As(err, &sent) {
		return sent.Code
	}
	return ""
}

// refused reports whether err is the fault of what was to be stored: it will
// come again.
func refused(err error) bool {
	code := codeOf(err)
	return len(code) == 5 && (code[:2] == "22" || code[:2] == "23" || code[:2] == "54")
}

// typed is the contract's error for one of the driver's.
func typed(ctx context.Context, doing string, err error) error {
	code := codeOf(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrClosed), errors.Is(err, ErrSchema):
		return err
	case len(code) == 5 && code[:2] == "28", code == "42501": // invalid authorization, insufficient privilege
		return fmt.Errorf("pgbus: %s: %w: %w", doing, bus.ErrUnauthorized, err)
	case refused(err):
		return fmt.Errorf("pgbus: %s: %w: %w", doing, bus.ErrRefused, err)
	case ctx.Err() != nil:
		return fmt.Errorf("pgbus: %s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("pgbus: %s: %w: %w", doing, bus.ErrUnavailable, err)
}
