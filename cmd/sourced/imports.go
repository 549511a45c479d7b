package main

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Packages that generated code imports by itself.
const (
	aggregatePath = "github.com/troupe-go/troupe/aggregate"
	envelopePath  = "github.com/troupe-go/troupe/envelope"
	testPath      = "github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// imports collects what one generated file imports.
type imports struct {
	*source
	specs map[string]string    // by name: the text of the import
	paths map[string]string    // by name
	from  map[string]token.Pos // by name: where it is used first
}

func (s *source) newImports() *imports {
	return &imports{source: s, specs: map[string]string{}, paths: map[string]string{}, from: map[string]token.Pos{}}
}

// add imports path under name, which the code at pos needs.
func (im *imports) add(name, importPath, text string, pos token.Pos) {
	if taken, ok := im.names[name]; ok {
		im.addf(taken, "%s is in the way of the import %q of the generated file: rename it", name, importPath)
		return
	}
	if other, ok := im.paths[name]; ok && other != importPath {
		im.addf(pos, "%s is the package %q here and %q at %s, but one generated file needs both: give one import another name", name, importPath, other, im.at(im.from[name]))
		return
	}
	if _, ok := im.paths[name]; !ok {
		im.specs[name], im.paths[name], im.from[name] = text, importPath, pos
	}
}

// own imports a package that the generated code itself uses. Its name may be
// the user's alias.
func (im *imports) own(name, importPath string, pos token.Pos) {
	text := strconv.Quote(importPath)
	if name != path.Base(importPath) {
		text = name + " " + text
	}
	im.add(name, importPath, text, pos)
}

// resolve imports every package that expr, copied from f, uses. local tells
// receiver and parameters, which hide packages. A position that replaces that
// of expr's nodes is given where expr was parsed apart from its file.
func (im *imports) resolve(f *file, expr ast.Expr, at token.Pos, local func(string) bool) {
	ast.Inspect(expr, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || local != nil && local(x.Name) {
			return true
		}
		pos := x.Pos()
		if at.IsValid() {
			pos = at + x.Pos() - 1 // positions of an expression on its own count from 1
		}
		if _, declared := im.names[x.Name]; declared {
			return true
		}
		im.use(f, x.Name, pos)
		return true
	})
}

// resolveType is resolve for a type, and reports names that come from nowhere.
func (im *imports) resolveType(f *file, t ast.Expr) {
	im.resolve(f, t, token.NoPos, nil)
	if !f.dot {
		return
	}
	ast.Inspect(t, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr, *ast.StructType, *ast.InterfaceType, *ast.FuncType:
			return false
		case *ast.Ident:
			if _, declared := im.names[n.Name]; !declared && !predeclared[n.Name] {
				im.addf(n.Pos(), "%s may come from a dot import, which is not followed: import the package by name and write package.%s", n.Name, n.Name)
			}
		}
		return true
	})
}

// use imports what f calls name.
func (im *imports) use(f *file, name string, pos token.Pos) {
	if spec := f.importOf(name, nil); spec != nil {
		importPath, _ := strconv.Unquote(spec.Path.Value)
		text := spec.Path.Value
		if spec.Name != nil {
			text = name + " " + text
		}
		im.add(name, importPath, text, pos)
		return
	}
	im.addf(pos, "%s is no package that %s imports: import it, and write its name before the path if the path does not end in %s", name, f.base, name)
}

// importOf finds the import that f calls name, and returns nil without one.
// known returns the name of the package at a path where that is known, and ""
// elsewhere; it may be nil.
func (f *file) importOf(name string, known func(importPath string) string) *ast.ImportSpec {
	for _, spec := range f.imports {
		if spec.Name != nil && spec.Name.Name == name {
			return spec
		}
	}
	for _, spec := range f.imports {
		if spec.Name != nil {
			continue
		}
		importPath, _ := strconv.Unquote(spec.Path.Value)
		if known != nil {
			if is := known(importPath); is != "" {
				if is == name {
					return spec
				}
				continue
			}
		}
		if slices.Contains(likelyNames(importPath), name) {
			return spec
		}
	}
	return nil
}

// isAggregatePkg reports whether f calls package aggregate name.
func (s *source) isAggregatePkg(f *file, name string) bool {
	for _, spec := range f.imports {
		importPath, _ := strconv.Unquote(spec.Path.Value)
		if importPath == aggregatePath {
			return spec.Name == nil && name == "aggregate" || spec.Name != nil && spec.Name.Name == name
		}
	}
	return false
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// likelyNames are the names that a package of that path may have. Only its
// sources know, and they are not read.
func likelyNames(importPath string) []string {
	base := path.Base(importPath)
	if majorVersion.MatchString(base) {
		base = path.Base(path.Dir(importPath))
	}
	if stem, version, ok := strings.Cut(base, ".v"); ok && majorVersion.MatchString("v"+version) {
		base = stem // gopkg.in/yaml.v3
	}
	names := []string{base}
	for _, cut := range []string{strings.TrimPrefix(base, "go-"), strings.TrimSuffix(base, "-go"), strings.TrimSuffix(base, ".go")} {
		names = append(names, cut, strings.ReplaceAll(cut, "-", ""), strings.ReplaceAll(cut, "-", "_"))
	}
	return names
}

// predeclared are the types that every package has.
var predeclared = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields("any bool byte comparable complex64 complex128 error float32 float64 int int8 int16 int32 int64 rune string uint uint8 uint16 uint32 uint64 uintptr") {
		all[name] = true
	}
	return all
}()

// text is the import block: the standard library first.
func (im *imports) text() string {
	var std, others []string
	for name, text := range im.specs {
		if first, _, _ := strings.Cut(im.paths[name], "/"); strings.Contains(first, ".") {
			others = append(others, text)
		} else {
			std = append(std, text)
		}
	}
	byPath := func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, '"'):], b[strings.IndexByte(b, '"'):])
	}
	slices.SortFunc(std, byPath)
	slices.SortFunc(others, byPath)
	var b strings.Builder
	b.WriteString("import (\n")
	for _, text := range std {
		b.WriteString("\t" + text + "\n")
	}
	if len(std) > 0 && len(others) > 0 {
		b.WriteString("\n")
	}
	for _, text := range others {
		b.WriteString("\t" + text + "\n")
	}
	b.WriteString(")\n")
	return b.String()
}
