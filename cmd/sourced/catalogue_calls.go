package main

import (
	"go/ast"
	"go/token"
	"strconv"
)

// commandEntry is one call of aggregate.NewCommand.
type commandEntry struct {
	pkg       *packageEntry
	pos       token.Pos
	name      string // durable
	variable  string // of the package; empty for none
	doc       string
	mustExist bool
	aggregate typeRef
	on        string // the aggregate as written
	in, out   typeArg
}

// call is one call in the syntax of a package.
type call struct {
	*ast.CallExpr
	file     *file
	function string         // around it, or the package variable that it is part of
	spec     *ast.ValueSpec // whose value it is; nil for none
	doc      *ast.CommentGroup
	variable string // of spec
}

// readers take the calls that a catalogue shows. What else subscribes or asks
// one day gets a reader here.
var readers = []func(*packageEntry, *catalogue, call){
	(*packageEntry).readCommand,
	(*packageEntry).readTypedListener,
	(*packageEntry).readNamedListener,
}

// readCalls reads all calls of p.
func (p *packageEntry) readCalls(c *catalogue) {
	for _, f := range p.files {
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if typ := receiverType(d); typ != "" {
					name = typ + "." + name
				}
				p.readCallsIn(c, d, call{file: f, function: name})
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					spec, ok := spec.(*ast.ValueSpec)
					if !ok {
						continue
					}
					for i, value := range spec.Values {
						at := call{file: f, spec: spec, doc: spec.Doc}
						if at.doc == nil && len(d.Specs) == 1 {
							at.doc = d.Doc
						}
						if i < len(spec.Names) {
							at.function = spec.Names[i].Name
						}
						if len(spec.Names) == len(spec.Values) {
							at.variable = spec.Names[i].Name
						}
						p.readCallsIn(c, value, at)
					}
				}
			}
		}
	}
}

// readCallsIn reads the calls in n, which stand where at says.
func (p *packageEntry) readCallsIn(c *catalogue, n ast.Node, at call) {
	value := n
	for {
		paren, ok := value.(*ast.ParenExpr)
		if !ok {
			break
		}
		value = paren.X
	}
	ast.Inspect(n, func(n ast.Node) bool {
		expr, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		found := at
		found.CallExpr = expr
		if n != value { // a part of the variable's value has not its name
			found.variable, found.doc = "", nil
		}
		for _, read := range readers {
			read(p, c, found)
		}
		return true
	})
}

// ofAggregate reports whether fun is the function of package aggregate called
// name, and returns its type arguments.
func (p *packageEntry) ofAggregate(f *file, fun ast.Expr, name string) (args []ast.Expr, ok bool) {
	switch x := fun.(type) {
	case *ast.ParenExpr:
		return p.ofAggregate(f, x.X, name)
	case *ast.IndexExpr:
		fun, args = x.X, []ast.Expr{x.Index}
	case *ast.IndexListExpr:
		fun, args = x.X, x.Indices
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return nil, false
	}
	x, ok := sel.X.(*ast.Ident)
	return args, ok && p.isAggregatePkg(f, x.Name)
}

// readCommand reads aggregate.NewCommand("name", handler, options...).
func (p *packageEntry) readCommand(c *catalogue, at call) {
	typeArgs, ok := p.ofAggregate(at.file, at.Fun, "NewCommand")
	if !ok || len(at.Args) < 2 {
		return
	}
	name, ok := c.constant(p, at.file, at.Args[0])
	if !ok {
		p.notes.addf(at.Args[0].Pos(), "a command is left out, its name is not known before the program runs: write a string or a constant")
		return
	}
	cmd := &commandEntry{pkg: p, pos: at.Pos(), name: name, variable: at.variable, doc: firstSentence(at.doc)}
	here := scope{pkg: p.source, file: at.file}
	sig, in := p.signature(at.file, at.Args[1])
	switch {
	case sig != nil && len(sig.params) == 3 && len(sig.results) == 2:
		cmd.aggregate, cmd.on = in.ref(c, sig.params[1]), in.text(sig.params[1])
		cmd.in, cmd.out = typeArg{sig.params[2], in}, typeArg{sig.results[0], in}
	case len(typeArgs) == 3:
		cmd.aggregate, cmd.on = here.ref(c, typeArgs[0]), "*"+here.text(typeArgs[0])
		cmd.in, cmd.out = typeArg{typeArgs[1], here}, typeArg{typeArgs[2], here}
	default:
		p.notes.addf(at.Args[1].Pos(), "the types of command %q are left out, its handler is no function of this package: write a func, or aggregate.NewCommand[Aggregate, Input, Output]", name)
	}
	for _, option := range at.Args[2:] {
		if option, ok := option.(*ast.CallExpr); ok {
			if _, ok := p.ofAggregate(at.file, option.Fun, "MustExist"); ok {
				cmd.mustExist = true
			}
		}
	}
	p.commands = append(p.commands, cmd)
}

// signature is what a function takes and returns, one type for each value.
type signature struct{ params, results []ast.Expr }

// signature returns that of a function literal, or of a function or method of
// p named by fn; nil for any other expression.
func (p *packageEntry) signature(f *file, fn ast.Expr) (*signature, scope) {
	in := scope{pkg: p.source, file: f}
	switch x := fn.(type) {
	case *ast.ParenExpr:
		return p.signature(f, x.X)
	case *ast.FuncLit:
		return &signature{flat(x.Type.Params), flat(x.Type.Results)}, in
	case *ast.Ident:
		return p.function(func(d *ast.FuncDecl) bool { return d.Recv == nil && d.Name.Name == x.Name })
	case *ast.SelectorExpr:
		if pkg, ok := x.X.(*ast.Ident); ok && f.importOf(pkg.Name, nil) != nil && p.names[pkg.Name] == 0 {
			return nil, in // a function of another package
		}
		return p.function(func(d *ast.FuncDecl) bool { return d.Recv != nil && d.Name.Name == x.Sel.Name })
	}
	return nil, in
}

// function returns the signature of the one function that match accepts.
func (p *packageEntry) function(match func(*ast.FuncDecl) bool) (*signature, scope) {
	var sig *signature
	in := scope{pkg: p.source}
	for _, f := range p.files {
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Type.TypeParams != nil || !match(fn) {
				continue
			}
			if sig != nil {
				return nil, in // methods of two types: the syntax does not tell which
			}
			sig, in.file = &signature{flat(fn.Type.Params), flat(fn.Type.Results)}, f
		}
	}
	return sig, in
}

// flat is the type of each value of a list, in which names may share one.
func flat(list *ast.FieldList) []ast.Expr {
	var all []ast.Expr
	if list == nil {
		return nil
	}
	for _, f := range list.List {
		for range max(1, len(f.Names)) {
			all = append(all, f.Type)
		}
	}
	return all
}

// ref is the type that expr names, pointers and aliases followed.
func (in scope) ref(c *catalogue, expr ast.Expr) typeRef {
	for range 100 { // aliases that do not compile may form a ring
		switch x := expr.(type) {
		case *ast.ParenExpr:
			expr = x.X
			continue
		case *ast.StarExpr:
			expr = x.X
			continue
		case *ast.SelectorExpr:
			if ref, ok := c.imported(in.file, x); ok {
				return ref
			}
			return typeRef{}
		case *ast.Ident:
			if t := in.pkg.declared[x.Name]; t != nil && t.alias {
				expr, in = t.expr, scope{pkg: in.pkg, file: t.file}
				continue
			}
			return typeRef{in.pkg.path, x.Name}
		}
		break
	}
	return typeRef{}
}

// imported is what x names in another package, where f calls it so.
func (c *catalogue) imported(f *file, x *ast.SelectorExpr) (typeRef, bool) {
	pkg, ok := x.X.(*ast.Ident)
	if !ok {
		return typeRef{}, false
	}
	spec := f.importOf(pkg.Name, func(path string) string {
		if p := c.pkg(path); p != nil {
			return p.name
		}
		return ""
	})
	if spec == nil {
		return typeRef{}, false
	}
	path, _ := strconv.Unquote(spec.Path.Value)
	return typeRef{path, x.Sel.Name}, true
}

// constant is the value of a string that the syntax shows: a literal, a
// constant of a package of the catalogue, or several of them joined.
func (c *catalogue) constant(p *packageEntry, f *file, expr ast.Expr) (string, bool) {
	return c.constantWithin(p, f, expr, 100)
}

func (c *catalogue) constantWithin(p *packageEntry, f *file, expr ast.Expr, depth int) (string, bool) {
	if depth == 0 { // constants that do not compile may form a ring
		return "", false
	}
	switch x := expr.(type) {
	case *ast.ParenExpr:
		return c.constantWithin(p, f, x.X, depth-1)
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			text, err := strconv.Unquote(x.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		if x.Op == token.ADD {
			a, ok := c.constantWithin(p, f, x.X, depth-1)
			b, ok2 := c.constantWithin(p, f, x.Y, depth-1)
			return a + b, ok && ok2
		}
	case *ast.Ident:
		if value, in := p.constantNamed(x.Name); value != nil {
			return c.constantWithin(p, in, value, depth-1)
		}
	case *ast.SelectorExpr:
		ref, ok := c.imported(f, x)
		if !ok {
			return "", false
		}
		if other := c.pkg(ref.path); other != nil {
			if value, in := other.constantNamed(ref.name); value != nil {
				return c.constantWithin(other, in, value, depth-1)
			}
		}
	}
	return "", false
}
