package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// closing marks, until the file is formatted, where a borrowed expression ends.
const closing = "@end@*/"

// borrowed is the expression of c between two line comments: the compiler then
// reports its errors at the user's directive, and what follows at its own
// place again.
func (g *emitter) borrowed(c clause) string {
	pos := g.im.fset.PositionFor(c.pos, false)
	// gofmt puts a blank between the comment and the expression.
	return fmt.Sprintf("/*line %s:%d:%d*/ %s /*line %s", filepath.Base(pos.Filename), pos.Line, pos.Column-1, c.text, closing)
}

// closeLines gives each closing comment its place in the formatted file.
func closeLines(src []byte, base string) []byte {
	lines := strings.Split(string(src), "\n")
	for i, line := range lines {
		before, after, ok := strings.Cut(line, closing)
		if !ok {
			continue
		}
		// What follows the comment stands behind the text that is filled in
		// here, whose length depends on the number in it.
		col := 0
		for {
			at := fmt.Sprintf("%s:%d:%d*/", base, i+1, col)
			next := len(before) + len(at) + 1
			if next == col {
				lines[i] = before + at + after
				break
			}
			col = next
		}
	}
	return []byte(strings.Join(lines, "\n"))
}
