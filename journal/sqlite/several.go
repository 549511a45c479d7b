package sqlite

import (
	"context"
	"database/sql"
	"strings"
)

// several is a statement for several rows at once, which costs less than one
// for each. Its texts for some numbers of rows are made beforehand, so that
// few are ever prepared.
type several struct {
	columns int
	texts   [len(severalSizes)]string
}

// severalSizes are the numbers of rows: what remains of a group takes a statement
// for each bit.
var severalSizes = [...]int{64, 32, 16, 8, 4, 2, 1}

// newSeveral makes it from a query in which one @ stands for the rows.
func newSeveral(query string, columns int) *several {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	q := &several{columns: columns}
	for i, n := range severalSizes {
		q.texts[i] = strings.Replace(query, "@", strings.TrimSuffix(strings.Repeat(row+",", n), ","), 1)
	}
	return q
}

// each calls run with the text and the arguments of one statement after the
// other, until all args are used.
func (q *several) each(args []any, run func(text string, args []any) error) error {
	for i, n := range severalSizes {
		for n *= q.columns; len(args) >= n; args = args[n:] {
			if err := run(q.texts[i], args[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// insert runs q and returns the last row's number.
func (s *session) insert(ctx context.Context, q *several, args []any) (last int64, err error) {
	err = q.each(args, func(text string, args []any) error {
		res, err := s.result(ctx, text, args)
		if err == nil {
			last, err = res.LastInsertId()
		}
		return err
	})
	return last, err
}

// lookup runs q and calls each for every row.
func (s *session) lookup(ctx context.Context, q *several, args []any, each func(*sql.Rows) error) error {
	return q.each(args, func(text string, args []any) error {
		return s.rows(ctx, text, args, func(rows *sql.Rows) (bool, error) { return true, each(rows) })
	})
}
