package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// printMermaid writes c as a Mermaid flowchart: commands, aggregates, events
// and their listeners, from left to right.
func printMermaid(w io.Writer, c *catalogue) error {
	g := &graph{ids: unique{}, nodes: map[any]string{}}
	if c.title != "" {
		// The front matter is YAML, which reads a quoted string as Go does.
		fmt.Fprintf(&g.b, "---\ntitle: %s\n---\n", strconv.QuoteToASCII(c.title))
	}
	g.b.WriteString("flowchart LR\n")
	for _, p := range c.packages {
		fmt.Fprintf(&g.b, "  subgraph %s[\"%s\"]\n", g.id("package", p.label), mermaidText(p.label))
		for _, a := range p.aggregates {
			for _, cmd := range a.commands {
				if cmd.pkg == p {
					g.node(cmd, "command", p.label+"_"+cmd.name, cmd.name)
				}
			}
			g.node(a, "aggregate", p.label+"_"+a.durable, a.durable)
			for _, e := range a.events {
				g.node(e, "event", p.label+"_"+a.durable+"_"+e.name, e.name)
			}
		}
		for _, cmd := range c.commandsFrom(p) {
			g.node(cmd, "command", p.label+"_"+cmd.name, cmd.name)
		}
		for _, l := range p.listeners {
			if len(l.events) > 0 {
				g.node(listenerKey{p, l.function}, "listener", p.label+"_"+l.function, l.name())
			}
		}
		g.b.WriteString("  end\n")
	}
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			for _, cmd := range a.commands {
				fmt.Fprintf(&g.b, "  %s --> %s\n", g.nodes[cmd], g.nodes[a])
			}
			for _, e := range a.events {
				fmt.Fprintf(&g.b, "  %s -->|\"%s\"| %s\n", g.nodes[a], mermaidText(e.command), g.nodes[e])
			}
			for _, e := range a.events {
				for _, l := range e.listeners {
					fmt.Fprintf(&g.b, "  %s -.-> %s\n", g.nodes[e], g.nodes[listenerKey{l.pkg, l.function}])
				}
			}
		}
	}
	_, err := io.WriteString(w, g.b.String())
	return err
}

// listenerKey finds the node of the listeners that one function registers.
type listenerKey struct {
	pkg      *packageEntry
	function string
}

// commandsFrom returns the commands of p that stand outside its aggregates.
func (c *catalogue) commandsFrom(p *packageEntry) []*commandEntry {
	all := p.commands
	for _, other := range c.packages {
		for _, a := range other.aggregates {
			for _, cmd := range a.commands {
				if other != p && cmd.pkg == p {
					all = append(all, cmd)
				}
			}
		}
	}
	return all
}

// graph collects the lines of a flowchart.
type graph struct {
	b     strings.Builder
	ids   unique
	nodes map[any]string // ids
}

// mermaidShapes are the brackets around each kind of node.
var mermaidShapes = map[string][2]string{
	"command": {"[/", "/]"}, "aggregate": {"[", "]"}, "event": {"([", "])"}, "listener": {"{{", "}}"},
}

// node writes the node of key once.
func (g *graph) node(key any, kind, name, label string) {
	if g.nodes[key] != "" {
		return
	}
	g.nodes[key] = g.id(kind, name)
	shape := mermaidShapes[kind]
	fmt.Fprintf(&g.b, "    %s%s\"%s\"%s\n", g.nodes[key], shape[0], mermaidText(label), shape[1])
}

// id is the id of a node: stable, so that a diff shows what changed.
func (g *graph) id(kind, name string) string {
	return g.ids.name(kind+"_"+strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, name), "_")
}

// mermaidText escapes what Mermaid, Markdown in a label or HTML would read as
// their own.
func mermaidText(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || strings.ContainsRune(" ._-/:,", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
