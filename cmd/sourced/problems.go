package main

import (
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
)

// problems collects the mistakes found in a package, so that all are reported
// at once.
type problems struct {
	fset *token.FileSet
	list scanner.ErrorList
}

// addf notes a mistake at pos. The text says what is wrong and what to write
// instead.
func (p *problems) addf(pos token.Pos, format string, args ...any) {
	p.list.Add(p.fset.PositionFor(pos, false), fmt.Sprintf(format, args...))
}

// addAll notes what the parser found.
func (p *problems) addAll(err error) {
	var list scanner.ErrorList
	if errors.As(err, &list) {
		p.list = append(p.list, list...)
		return
	}
	p.list.Add(token.Position{}, err.Error())
}

// err returns all mistakes in the order of the source, and nil without any.
func (p *problems) err() error {
	p.list.Sort()
	return p.list.Err()
}

// at is pos in the form of the messages.
func (p *problems) at(pos token.Pos) string { return p.fset.PositionFor(pos, false).String() }

// printError writes each mistake of err on a line of its own.
func printError(w io.Writer, err error) {
	var list scanner.ErrorList
	if !errors.As(err, &list) {
		_, _ = fmt.Fprintln(w, "sourced:", err)
		return
	}
	for _, e := range list {
		_, _ = fmt.Fprintln(w, e)
	}
}
