package main

import (
	"errors"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"
)

// readClauses reads "when EXPR require EXPR", either of which may be missing;
// text stands at pos. A keyword counts outside brackets only, and not behind a
// dot, so that a.when and f(require) can still be written.
func (s *source) readClauses(e *event, text string, pos token.Pos) {
	type start struct {
		keyword string
		at      int
	}
	var starts []start
	depth, last := 0, token.ILLEGAL
	scan(text, func(at int, tok token.Token, lit string) {
		switch tok {
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth++
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		case token.COMMENT:
			s.addf(pos+token.Pos(at), "a clause takes no comment: move it above the directive")
		case token.IDENT:
			if (lit == "when" || lit == "require") && depth == 0 && last != token.PERIOD {
				starts = append(starts, start{lit, at})
			}
		}
		last = tok
	})
	for i, st := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1].at
		}
		at := st.at + len(st.keyword)
		body := text[at:end]
		at += len(body) - len(strings.TrimLeft(body, " \t"))
		c := clause{text: strings.TrimSpace(body), pos: pos + token.Pos(at)}
		into := &e.require
		if st.keyword == "when" {
			into = &e.when
			if e.require.text != "" {
				s.addf(pos+token.Pos(st.at), "when stands behind require: write it before, it is asked first")
			}
		}
		if into.text != "" {
			s.addf(pos+token.Pos(st.at), "event %q has two %s clauses: write one expression", e.name, st.keyword)
		}
		s.parseClause(&c, st.keyword, pos+token.Pos(st.at))
		*into = c
	}
}

// parseClause parses the expression of c.
func (s *source) parseClause(c *clause, keyword string, at token.Pos) {
	want := "write an expression that is true when there is something to do"
	if keyword == "require" {
		want = "write an expression that gives an error, or nil"
	}
	if c.text == "" {
		s.addf(at, "%s has no expression: %s", keyword, want)
		return
	}
	fset := token.NewFileSet()
	expr, err := parser.ParseExprFrom(fset, "", c.text, parser.SkipObjectResolution)
	if err == nil {
		c.expr = expr
		return
	}
	pos, msg := c.pos, err.Error()
	var list scanner.ErrorList
	if errors.As(err, &list) {
		pos += token.Pos(list[0].Pos.Offset)
		msg = list[0].Msg
	}
	s.addf(min(pos, c.pos+token.Pos(len(c.text))), "the %s clause does not parse, %s: %s", keyword, msg, want)
}

// scan calls yield for each token of text, comments included.
func scan(text string, yield func(at int, tok token.Token, lit string)) {
	fset := token.NewFileSet()
	f := fset.AddFile("", -1, len(text))
	var sc scanner.Scanner
	sc.Init(f, []byte(text), func(token.Position, string) {}, scanner.ScanComments) // the parser reports errors
	for {
		pos, tok, lit := sc.Scan()
		if tok == token.EOF {
			return
		}
		yield(f.Offset(pos), tok, lit)
	}
}
