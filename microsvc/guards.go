package microsvc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-go/troupe/aggregate"
)

// Guard looks at a call before its handler does, and lets it through by
// returning nil. It refuses a call by [Refuse], [aggregate.Unauthorized] and its
// siblings, whose text goes to the caller. Any other error is one of the service,
// such as a store of sessions that is away: its text stays here.
type Guard func(*Context) error

// Refuse makes the [GuardError] of a text for the caller.
func Refuse(format string, args ...any) error { return &GuardError{Text: fmt.Sprintf(format, args...)} }

// Require is the guard of a predicate: a call for which ok is false is refused
// with text.
func Require(text string, ok func(*Context) bool) Guard {
	return func(c *Context) error {
		if !ok(c) {
			return Refuse("%s", text)
		}
		return nil
	}
}

// RequireFields lets through what has each of those fields in its input, and not
// null: see [Context.HasField].
func RequireFields(names ...string) Guard {
	return func(c *Context) error {
		if _, err := c.topFields(); err != nil {
			return err
		}
		var missing []string
		for _, name := range names {
			if !c.HasField(name) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return Refuse("input lacks %s", strings.Join(missing, ", "))
		}
		return nil
	}
}

// RequireUser lets through a caller that has an id; others are
// [aggregate.ErrUnauthorized].
func RequireUser() Guard {
	return func(c *Context) error {
		_, err := c.UserID()
		return err
	}
}

// RequireRole lets through a caller that has one of those roles; others are
// [aggregate.ErrUnauthorized].
func RequireRole(roles ...string) Guard {
	return func(c *Context) error {
		role, err := c.Role()
		if err == nil && !slices.Contains(roles, role) {
			err = aggregate.Unauthorized("role %q may not do that", role)
		}
		return err
	}
}

// pass asks the guards in order.
func pass(c *Context, guards []Guard) error {
	for _, guard := range guards {
		if err := guard(c); err != nil {
			return err
		}
	}
	return nil
}
