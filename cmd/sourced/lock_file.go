package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/troupe-go/troupe/envelope"
)

// lockName is the file that records the shapes, beside the package's sources.
const lockName = "sourced.lock"

// lockHeader begins the lock. "format 1" is how its lines are written; another
// way gets another number.
const lockHeader = `# The shapes of all events and snapshots that may be stored. Commit this file.
# It is written by sourced: do not edit it. A stored event is read for ever, so
# a shape that changes gets a new number: write schema=N and //sourced:upcast.
# For work that was never released, run: go tool sourced lock -accept

format 1
`

// lockID names one schema of an event, of the baseline, where event is
// [envelope.BaselineName], or of the snapshots, where event is empty.
type lockID struct {
	aggregate, event string
	schema           uint32
}

// layout is the shape of one schema.
type layout struct {
	fields []string // sorted
	line   int      // in the lock file; 0 elsewhere
}

// lock is what a lock file says.
type lock struct {
	path    string // for messages
	text    []byte // nil without a file
	layouts map[lockID]layout
}

// readLock reads the lock of the package in dir. A missing file is an empty
// lock; a damaged one gives all mistakes as a [scanner.ErrorList].
func readLock(dir string) (*lock, error) {
	path := filepath.Join(dir, lockName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &lock{path: path, layouts: map[lockID]layout{}}, nil
	}
	if err != nil {
		return nil, err
	}
	layouts, err := parseLock(path, text)
	if err != nil {
		return nil, err
	}
	return &lock{path: path, text: text, layouts: layouts}, nil
}

// parseLock reads the text of a lock file.
func parseLock(path string, text []byte) (map[lockID]layout, error) {
	p := lockParser{path: path, layouts: map[lockID]layout{}}
	lines := strings.Split(string(bytes.TrimSuffix(text, []byte("\n"))), "\n")
	for i, line := range lines {
		p.line = i + 1
		p.conflict(line)
	}
	if len(p.list) > 0 { // the lines between are no file yet
		return nil, p.list.Err()
	}
	for i, line := range lines {
		p.line = i + 1
		p.parse(strings.TrimSuffix(line, "\r"))
	}
	if !p.format && len(p.list) == 0 {
		p.addf("the file does not say format 1: %s", restore)
	}
	for _, l := range p.layouts {
		slices.Sort(l.fields)
	}
	return p.layouts, p.list.Err()
}

const restore = "restore it from version control"

// lockParser is a parser on its way through a lock file.
type lockParser struct {
	path      string
	line      int
	list      scanner.ErrorList
	format    bool
	aggregate string
	current   *lockID // the schema that fields belong to
	layouts   map[lockID]layout
}

func (p *lockParser) addf(format string, args ...any) {
	p.list.Add(token.Position{Filename: p.path, Line: p.line, Column: 1}, fmt.Sprintf(format, args...))
}

// conflict reports a line that git writes where two branches meet.
func (p *lockParser) conflict(line string) {
	for _, marker := range []string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"} {
		if strings.HasPrefix(line, marker) {
			p.addf("%s is the mark of a merge conflict: keep the lines of both sides, delete the marks, and run go generate", marker)
		}
	}
}

// parse reads one line.
func (p *lockParser) parse(line string) {
	if field, ok := strings.CutPrefix(line, "\t"); ok {
		p.field(field)
		return
	}
	if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
		return
	}
	keyword, rest, _ := strings.Cut(line, " ")
	if !p.format {
		switch {
		case keyword != "format":
			p.addf("%q stands before format 1: %s", clip(line), restore)
		case rest != "1":
			p.addf("format %s is not known, only format 1 is: use the version of sourced that wrote it", clip(rest))
		}
		p.format = true
		if keyword == "format" {
			return
		}
	}
	switch keyword {
	case "aggregate":
		name, ok := lockWord(&rest)
		if !ok || rest != "" {
			p.addf("an aggregate is written as aggregate NAME, not %q: %s", clip(line), restore)
			return
		}
		p.aggregate, p.current = name, nil
	case "event", "baseline", "snapshot":
		p.schema(keyword, rest, line)
	default:
		p.addf("%q is not understood: %s", clip(line), restore)
	}
}

// schema reads the line that begins a schema, without its keyword.
func (p *lockParser) schema(keyword, rest, line string) {
	p.current = nil
	var id lockID
	want, ok := keyword+" schema=N", true
	switch keyword {
	case "event":
		want = "event NAME schema=N"
		id.event, ok = lockWord(&rest)
	case "baseline":
		id.event = envelope.BaselineName
	}
	number, isSchema := strings.CutPrefix(rest, "schema=")
	n, err := strconv.ParseUint(number, 10, 32)
	switch {
	case !ok || !isSchema || err != nil || n == 0:
		p.addf("a schema is written as %s, not %q: %s", want, clip(line), restore)
		return
	case p.aggregate == "":
		p.addf("%q stands before the first aggregate: %s", clip(line), restore)
		return
	}
	id.aggregate, id.schema = p.aggregate, uint32(n)
	p.current = &id
	if other, twice := p.layouts[id]; twice {
		p.addf("schema %d of %s is at line %d already: keep the one that is released; the other one becomes schema %d", n, id.what(), other.line, n+1)
		return
	}
	p.layouts[id] = layout{line: p.line}
}

func (p *lockParser) field(text string) {
	if p.current == nil {
		if len(p.list) == 0 { // else it is the line above that is wrong
			p.addf("the field %q belongs to no schema: %s", clip(text), restore)
		}
		return
	}
	rest := text
	name, ok := lockWord(&rest)
	if !ok || rest == "" || strings.TrimSpace(text) != text || !isPrintable(text) {
		p.addf("a field is written as NAME TYPE, not %q: %s", clip(text), restore)
		return
	}
	l := p.layouts[*p.current]
	path := text[:len(text)-len(rest)]
	several := strings.HasSuffix(strings.TrimSpace(path), "*") // a struct may embed several types
	for _, other := range l.fields {
		if other == text || !several && strings.HasPrefix(other, path) {
			p.addf("the field %s is recorded twice: %s", clip(name), restore)
			return
		}
	}
	l.fields = append(l.fields, text)
	p.layouts[*p.current] = l
}

// lockWord cuts the first word, which may be in quotes, and the blank behind
// it from text.
func lockWord(text *string) (word string, ok bool) {
	end := 0
	for i := 0; i <= len(*text); i++ {
		if i == len(*text) || (*text)[i] == ' ' {
			end = i
			break
		}
		if (*text)[i] == '"' {
			quoted, err := strconv.QuotedPrefix((*text)[i:])
			if err != nil {
				return "", false
			}
			i += len(quoted) - 1
		}
	}
	word = (*text)[:end]
	*text = strings.TrimPrefix((*text)[end:], " ")
	if unquoted, err := strconv.Unquote(word); err == nil && word[0] == '"' {
		word = unquoted
	}
	return word, word != ""
}

func isPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clip shortens text for a message.
func clip(text string) string {
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "..."
	}
	return text
}

// formatLock is the text of a lock file.
func formatLock(layouts map[lockID]layout) []byte {
	var b bytes.Buffer
	b.WriteString(lockHeader)
	aggregate := ""
	for _, id := range sortedIDs(layouts) {
		if id.aggregate != aggregate {
			fmt.Fprintf(&b, "\naggregate %s\n", plainName(id.aggregate))
			aggregate = id.aggregate
		}
		switch id.event {
		case "":
			fmt.Fprintf(&b, "\nsnapshot schema=%d\n", id.schema)
		case envelope.BaselineName:
			fmt.Fprintf(&b, "\nbaseline schema=%d\n", id.schema)
		default:
			fmt.Fprintf(&b, "\nevent %s schema=%d\n", plainName(id.event), id.schema)
		}
		for _, f := range layouts[id].fields {
			fmt.Fprintf(&b, "\t%s\n", f)
		}
	}
	return b.Bytes()
}

// plainName is a durable name as the lock writes it: in quotes where it has
// characters that a name seldom has.
func plainName(name string) string {
	if isPlain(name, "-_./:") {
		return name
	}
	return strconv.Quote(name)
}

// sortedIDs orders by aggregate, event and schema; baseline and snapshots stand
// behind the events.
func sortedIDs(layouts map[lockID]layout) []lockID {
	var ids []lockID
	for id := range layouts {
		ids = append(ids, id)
	}
	rank := func(id lockID) int { return slices.Index([]string{envelope.BaselineName, ""}, id.event) } // -1 for events
	slices.SortFunc(ids, func(a, b lockID) int {
		return cmp.Or(cmp.Compare(a.aggregate, b.aggregate), cmp.Compare(rank(a), rank(b)), cmp.Compare(a.event, b.event), cmp.Compare(a.schema, b.schema))
	})
	return ids
}

// what is the id without its schema, for messages.
func (id lockID) what() string {
	switch id.event {
	case "":
		return fmt.Sprintf("the snapshot of %q", id.aggregate)
	case envelope.BaselineName:
		return fmt.Sprintf("the baseline of %q", id.aggregate)
	}
	return fmt.Sprintf("event %q of %q", id.event, id.aggregate)
}
