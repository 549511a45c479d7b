package main

import (
	"go/ast"
	"strings"
)

// listenerEntry is one subscription.
type listenerEntry struct {
	pkg      *packageEntry
	function string // where it is registered
	call     string // what registers it, for readers: Listen
	all      bool   // it hears everything
	events   []*eventEntry
	other    string // what it hears that is no event, or is none here; empty for nothing
	connect  func(*catalogue, *listenerEntry)
}

// name is the function with its package.
func (l *listenerEntry) name() string { return l.pkg.label + "." + l.function }

// hears makes l a listener of e, unless its function has one already.
func (l *listenerEntry) hears(e *eventEntry) {
	l.events = append(l.events, e)
	for _, other := range e.listeners {
		if other.pkg == l.pkg && other.function == l.function {
			return
		}
	}
	e.listeners = append(e.listeners, l)
}

// readTypedListener reads aggregate.Listen(emitter, func(ctx, value E, e)).
func (p *packageEntry) readTypedListener(c *catalogue, at call) {
	args, ok := p.ofAggregate(at.file, at.Fun, "Listen")
	if !ok || len(at.Args) != 2 {
		return
	}
	in := scope{pkg: p.source, file: at.file}
	var typ ast.Expr
	if len(args) == 1 {
		typ = args[0]
	} else if sig, where := p.signature(at.file, at.Args[1]); sig != nil && len(sig.params) == 3 {
		typ, in = sig.params[1], where
	} else {
		p.notes.addf(at.Args[1].Pos(), "a listener is left out, its payload is not known: write a func, or aggregate.Listen[Payload]")
		return
	}
	ref := in.ref(c, typ)
	p.listeners = append(p.listeners, &listenerEntry{
		pkg: p, function: at.function, call: "Listen",
		connect: func(c *catalogue, l *listenerEntry) { l.connectType(c, in, typ, ref) },
	})
}

// connectType finds the events whose payload is a typ.
func (l *listenerEntry) connectType(c *catalogue, in scope, typ ast.Expr, ref typeRef) {
	if l.all = isAny(in, typ); l.all {
		l.connectAll(c)
		return
	}
	l.other = "values of type " + in.text(typ)
	target := c.pkg(ref.path)
	if target == nil {
		return
	}
	for _, a := range target.aggregates {
		for _, e := range a.events {
			if e.payload != ref.name && a.sealed != ref.name {
				continue
			}
			if !a.enqueue {
				l.other += ": " + a.durable + " enqueues no events"
				return
			}
			l.hears(e)
		}
	}
	if len(l.events) > 0 {
		l.other = ""
	}
}

// isAny reports whether typ is any, which every payload is.
func isAny(in scope, typ ast.Expr) bool {
	kind, at := in.kind(typ)
	switch x := kind.(type) {
	case *ast.InterfaceType:
		declared, _ := in.lookup(typ)
		return x.Methods.NumFields() == 0 && (declared == nil || declared.sealed == nil)
	case *ast.Ident:
		return x.Name == "any" && at.pkg.declared["any"] == nil
	}
	return false
}

// connectAll makes l hear every event that is enqueued.
func (l *listenerEntry) connectAll(c *catalogue) {
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, e := range a.events {
				if a.enqueue {
					l.hears(e)
				}
			}
		}
	}
}

// readNamedListener reads x.Listen("name", func(context.Context, aggregate.Emission)).
func (p *packageEntry) readNamedListener(c *catalogue, at call) {
	sel, ok := at.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Listen" || len(at.Args) != 2 {
		return
	}
	sig, in := p.signature(at.file, at.Args[1])
	if sig == nil || len(sig.params) != 2 {
		return // another Listen, as that of package net
	}
	first, _ := in.imported(sig.params[0])
	second, _ := in.imported(sig.params[1])
	if first != (typeRef{"context", "Context"}) || second != (typeRef{aggregatePath, "Emission"}) {
		return
	}
	name, ok := c.constant(p, at.file, at.Args[0])
	if !ok {
		p.notes.addf(at.Args[0].Pos(), "a listener is left out, the name that it listens to is not known before the program runs: write a string or a constant")
		return
	}
	p.listeners = append(p.listeners, &listenerEntry{
		pkg: p, function: at.function, call: "Listen",
		connect: func(c *catalogue, l *listenerEntry) { l.connectName(c, name) },
	})
}

// connectName finds the events called name.
func (l *listenerEntry) connectName(c *catalogue, name string) {
	if l.all = name == ""; l.all {
		l.connectAll(c)
		return
	}
	var silent []string
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, e := range a.events {
				switch {
				case e.name != name:
				case a.enqueue:
					l.hears(e)
				default:
					silent = append(silent, a.durable)
				}
			}
		}
	}
	if len(l.events) > 0 {
		return
	}
	l.other = "emissions called " + quotedName(name)
	if len(silent) > 0 {
		l.other += ": " + strings.Join(silent, ", ") + " enqueues no events"
	}
}
