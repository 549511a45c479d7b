package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

const catalogueUsage = "sourced catalogue [-format text|mermaid|asyncapi] [-title TITLE] [folder ...]"

// catalogueFormats are the forms in which a catalogue is printed.
var catalogueFormats = map[string]func(io.Writer, *catalogue) error{
	"text":     printText,
	"mermaid":  printMermaid,
	"asyncapi": printAsyncAPI,
}

// runCatalogue is run for sourced catalogue.
func runCatalogue(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sourced catalogue", flag.ContinueOnError)
	flags.SetOutput(stderr)
	format := flags.String("format", "text", "`form` of the output: text, mermaid or asyncapi")
	title := flags.String("title", "", "`title` of the output")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: "+catalogueUsage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	printTo := catalogueFormats[*format]
	if printTo == nil {
		_, _ = fmt.Fprintf(stderr, "sourced: there is no format %q: write text, mermaid or asyncapi\n", *format)
		return 2
	}
	dirs := flags.Args()
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	c, errs := readCatalogue(dirs)
	for _, err := range errs {
		printError(stderr, err)
	}
	if len(errs) > 0 {
		return 1
	}
	for _, p := range c.packages { // what the catalogue leaves out
		if err := p.notes.err(); err != nil {
			printError(stderr, err)
		}
	}
	c.title = *title
	if err := printTo(stdout, c); err != nil {
		printError(stderr, err)
		return 1
	}
	return 0
}

// catalogue is what several packages contain.
type catalogue struct {
	title    string // as asked for; empty without
	packages []*packageEntry
}

// packageEntry is one package of a catalogue.
type packageEntry struct {
	*source
	notes      *problems // what could not be read; no mistakes
	aggregates []*aggregateEntry
	commands   []*commandEntry // of aggregates that are not in the catalogue
	listeners  []*listenerEntry
}

// aggregateEntry is one aggregate of a catalogue.
type aggregateEntry struct {
	*aggregateType
	pkg      *packageEntry
	doc      string
	commands []*commandEntry
	events   []*eventEntry
}

// eventEntry is one event of a catalogue.
type eventEntry struct {
	*event
	aggregate *aggregateEntry
	listeners []*listenerEntry
}

// durableName is the event's name with that of its aggregate.
func (e *eventEntry) durableName() string { return e.aggregate.durable + "." + e.name }

// summary is the first sentence above the mutator, about the generated method.
func (e *event) summary() string {
	text := firstSentence(e.fn.Doc)
	if rest, ok := strings.CutPrefix(text, e.fn.Name.Name+" "); ok {
		return e.command + " " + rest
	}
	return text
}

// readCatalogue reads the packages in dirs. Each error is that of one package.
func readCatalogue(dirs []string) (*catalogue, []error) {
	c := &catalogue{}
	folders, err := expand(dirs)
	if err != nil {
		return nil, []error{err}
	}
	var errs []error
	for _, f := range folders {
		p, err := readPackage(f)
		switch {
		case err != nil:
			errs = append(errs, err)
		case p != nil:
			c.packages = append(c.packages, p)
		}
	}
	if errs != nil {
		return nil, errs
	}
	slices.SortFunc(c.packages, func(a, b *packageEntry) int { return strings.Compare(a.path, b.path) })
	for _, p := range c.packages {
		p.readCalls(c)
	}
	c.connect()
	c.dropEmpty()
	labels := map[string]int{}
	for _, p := range c.packages {
		labels[p.name]++
	}
	for _, p := range c.packages {
		p.label = p.name
		if labels[p.name] > 1 {
			p.label = p.path
		}
	}
	if len(c.packages) == 0 {
		return nil, []error{fmt.Errorf("%s: no package with an aggregate: name the folders that have one, or ./... for all below", strings.Join(dirs, " "))}
	}
	return c, nil
}

// readPackage reads the package in f, and returns nil for none in a walk.
func readPackage(f folder) (*packageEntry, error) {
	s, err := readSource(f.dir)
	if f.walked && errors.Is(err, errNoFiles) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &packageEntry{source: s, notes: &problems{fset: s.fset}}
	if p.path, err = importPath(f.dir); err != nil {
		return nil, err
	}
	m := &model{name: s.name}
	if s.hasDirectives() {
		// The files are not wanted, but their making reports what it misses.
		if m, _, err = s.generate(false); err != nil {
			return nil, err
		}
	}
	for _, a := range m.aggregates {
		entry := &aggregateEntry{aggregateType: a, pkg: p, doc: p.typeDoc(a.spec)}
		for _, e := range a.events {
			entry.events = append(entry.events, &eventEntry{event: e, aggregate: entry})
		}
		p.aggregates = append(p.aggregates, entry)
	}
	slices.SortFunc(p.aggregates, func(a, b *aggregateEntry) int { return strings.Compare(a.durable, b.durable) })
	s.declareTypes(m)
	return p, nil
}

// dropEmpty removes packages that have nothing to show.
func (c *catalogue) dropEmpty() {
	c.packages = slices.DeleteFunc(c.packages, func(p *packageEntry) bool {
		return len(p.aggregates) == 0 && len(p.commands) == 0 && len(p.listeners) == 0
	})
}

// connect hands commands and listeners to the aggregates and events that they
// are for.
func (c *catalogue) connect() {
	for _, p := range c.packages {
		all := p.commands
		p.commands = nil
		for _, cmd := range all {
			if a := c.aggregate(cmd.aggregate); a != nil {
				a.commands = append(a.commands, cmd)
			} else {
				p.commands = append(p.commands, cmd)
			}
		}
		slices.SortStableFunc(p.listeners, func(a, b *listenerEntry) int { return strings.Compare(a.function, b.function) })
		for _, l := range p.listeners {
			l.connect(c, l)
		}
		slices.SortStableFunc(p.commands, func(a, b *commandEntry) int { return strings.Compare(a.name, b.name) })
	}
	for _, p := range c.packages {
		for _, a := range p.aggregates {
			slices.SortStableFunc(a.commands, func(a, b *commandEntry) int {
				return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.pkg.path, b.pkg.path))
			})
		}
	}
}

// typeRef names a type of a package.
type typeRef struct{ path, name string }

// aggregate finds the aggregate of that Go type.
func (c *catalogue) aggregate(ref typeRef) *aggregateEntry {
	if p := c.pkg(ref.path); p != nil {
		for _, a := range p.aggregates {
			if a.name == ref.name {
				return a
			}
		}
	}
	return nil
}

// pkg finds the package of that path.
func (c *catalogue) pkg(path string) *packageEntry {
	for _, p := range c.packages {
		if p.path == path {
			return p
		}
	}
	return nil
}

// name is what the catalogue is about, for forms that need a title.
func (c *catalogue) name() string {
	if c.title != "" {
		return c.title
	}
	if len(c.packages) == 1 {
		return c.packages[0].name
	}
	common := c.packages[0].path
	for _, p := range c.packages[1:] {
		for common != p.path && !strings.HasPrefix(p.path, common+"/") {
			if common = path.Dir(common); common == "." || common == "/" {
				return "catalogue"
			}
		}
	}
	return common
}

// unique makes names that are no two's: a taken one gets a number.
type unique map[string]bool

func (u unique) name(name, separator string) string {
	free := name
	for n := 2; u[free]; n++ {
		free = fmt.Sprint(name, separator, n)
	}
	u[free] = true
	return free
}
