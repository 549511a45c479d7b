package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// The directives, for messages.
const (
	wantAggregate = "write //sourced:aggregate NAME, for example //sourced:aggregate todo"
	wantOptions   = "write //sourced:aggregate NAME [enqueue[=FIELD]] [events=NAME] [root=FIELD]"
	wantEvent     = "write //sourced:event NAME [schema=N] [when EXPR] [require EXPR]"
	wantUpcast    = "write //sourced:upcast EVENT from=N, or //sourced:upcast baseline from=N"
	wantSnapshot  = "write //sourced:snapshot schema=N [id=FIELD]"
	wantBaseline  = "write //sourced:baseline schema=N"
	wantRename    = "write //sourced:rename OLD NEW above the struct, or //sourced:rename OLD NEW [schema=N] above a func(Old) New"
	wantSplit     = "write //sourced:split OLD [schema=N] above a func(Old) []Event"
	wantDrop      = "write //sourced:drop OLD above the struct"
)

// directive is one //sourced: line.
type directive struct {
	ast.Directive
	words []word // its arguments
}

// word is one argument and where it stands.
type word struct {
	text string
	pos  token.Pos
}

// directives returns the //sourced: lines of a declaration's comment, and
// marks them as belonging to one.
func (f *file) directives(doc *ast.CommentGroup) []directive {
	if doc == nil {
		return nil
	}
	var all []directive
	for _, c := range doc.List {
		d, ok := ast.ParseDirective(c.Pos(), c.Text)
		if !ok || d.Tool != "sourced" {
			continue
		}
		f.taken[c.Pos()] = true
		all = append(all, directive{Directive: d, words: splitWords(d.Args, d.ArgsPos)})
	}
	return all
}

// splitWords cuts text, which stands at pos, at white space.
func splitWords(text string, pos token.Pos) []word {
	var words []word
	for i := 0; i < len(text); {
		n := strings.IndexFunc(text[i:], isBlank)
		if n < 0 {
			n = len(text) - i
		}
		if n > 0 {
			words = append(words, word{text[i : i+n], pos + token.Pos(i)})
		}
		i += n + 1
	}
	return words
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' }

// end is the place for what is missing behind the directive.
func (d directive) end() token.Pos {
	if len(d.words) == 0 {
		return d.Slash
	}
	return d.words[0].pos
}

// almost matches a directive that Go takes for prose because of a blank.
var almost = regexp.MustCompile(`^//\s+sourced:\s*(aggregate|event|upcast|snapshot|baseline|rename|split|drop)\b`)

// strays reports directives that no type, method or function owns, and lines
// that were meant to be directives.
func (s *source) strays(f *file) {
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			if almost.MatchString(c.Text) {
				s.addf(c.Pos(), "a directive has no blank behind //: write //sourced:%s", almost.FindStringSubmatch(c.Text)[1])
				continue
			}
			d, ok := ast.ParseDirective(c.Pos(), c.Text)
			if !ok || d.Tool != "sourced" || f.taken[c.Pos()] {
				continue
			}
			if owner[d.Name] == "" {
				s.unknown(d)
				continue
			}
			s.addf(c.Pos(), "//sourced:%s belongs to no declaration: put it into the comment directly above the %s", d.Name, owner[d.Name])
		}
	}
}

// owner is what each directive stands above.
var owner = map[string]string{
	"aggregate": "struct", "snapshot": "struct", "baseline": "struct", "event": "method", "upcast": "function",
	"rename": "struct or function", "split": "function", "drop": "struct",
}

func (s *source) unknown(d ast.Directive) {
	s.addf(d.Slash, "there is no directive //sourced:%s: write aggregate, snapshot, baseline, event, upcast, rename, split or drop", d.Name)
}

// number reads the N of "key=N", from 1.
func (s *source) number(w word, key, want string) (uint32, bool) {
	text, ok := strings.CutPrefix(w.text, key+"=")
	if !ok {
		s.addf(w.pos, "%q is not understood: %s", w.text, want)
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		s.addf(w.pos, "%s is %q: write a whole number from 1, as in %s=1", key, text, key)
		return 0, false
	}
	return uint32(n), true
}
