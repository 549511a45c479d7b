package microsvc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-go/troupe/aggregate"
)

// Guard looks at a call before its handler does, and lets it through by
// returning nil. An error without a code of its own becomes a [GuardError], and
// its text goes to the caller; others, such as those of [aggregate.Unauthorized],
// stay what they are.
type Guard func(*Context) error

// Require is the guard of a predicate: a call for which ok is false is refused
// with text.
func Require(text string, ok func(*Context) bool) Guard {
	return func(c *Context) error {
		if !ok(c) {
			return &GuardError{Text: text}
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
			return &GuardError{Text: "input lacks " + strings.Join(missing, ", ")}
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
		err := guard(c)
		if err == nil {
			continue
		}
		var remote *Problem
		if k, _ := kindsOf(err); k.sentinel == nil && !errors.As(err, &remote) {
			err = &GuardError{Text: fmt.Sprint(err), Err: err}
		}
		return err
	}
	return nil
}
