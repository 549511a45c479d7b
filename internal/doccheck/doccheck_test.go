package doccheck

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/troupe-go/troupe"
	root   = "../.."
)

// block is the code between a line ```go and a line ```.
type block struct {
	file string
	line int // of the first line of code
	code string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

func TestCodeOfTheDocs(t *testing.T) {
	t.Parallel()
	blocks := readBlocks(t)
	require.Greater(t, len(blocks), 20)
	excerpts, packages := readSources(t)
	context, err := os.ReadFile("testdata/context.go")
	require.NoError(t, err)
	overlay := map[string]string{}
	dir := t.TempDir()
	here, err := os.Getwd()
	require.NoError(t, err)
	var build []string
	for i := range blocks {
		b := &blocks[i]
		if isExcerpt(b.code, excerpts) {
			continue
		}
		name := fmt.Sprint("block", i)
		for file, code := range b.asPackage(t, string(context), packages) {
			on := filepath.Join(dir, name+file)
			require.NoError(t, os.WriteFile(on, []byte(code), 0o600))
			overlay[filepath.Join(here, name, file)] = on
		}
		build = append(build, "./"+name)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", file}, build...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A name that is not there is found, at the line where it stands.
func TestWrongCodeIsFound(t *testing.T) {
	t.Parallel()
	b := block{file: "x.md", line: 7, code: "b := 1\n_ = microsvc.Nonsense\n"}
	_, packages := readSources(t)
	files := b.asPackage(t, "package p\n", packages)
	dir := t.TempDir()
	overlay := map[string]map[string]string{"Replace": {}}
	here, err := os.Getwd()
	require.NoError(t, err)
	for file, code := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(code), 0o600))
		overlay["Replace"][filepath.Join(here, "wrong", file)] = filepath.Join(dir, file)
	}
	text, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "./wrong").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "x.md:8")
	require.Contains(t, string(out), "microsvc.Nonsense")
}

func readBlocks(t *testing.T) (blocks []block) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		var b *block
		for i, line := range strings.Split(string(text), "\n") {
			switch fence := strings.TrimSpace(line); {
			case b == nil && fence == "```go":
				b = &block{file: name, line: i + 2}
			case b != nil && fence == "```":
				blocks = append(blocks, *b)
				b = nil
			case b != nil:
				b.code += line + "\n"
			}
		}
		return nil
	})
	require.NoError(t, err)
	return blocks
}

// readSources returns every file that is compiled anyway, as excerpts compare,
// and the import path of every package of this module, by its name.
func readSources(t *testing.T) (files []string, packages map[string]string) {
	t.Helper()
	packages = map[string]string{
		"context": "context", "errors": "errors", "fmt": "fmt", "slog": "log/slog", "time": "time", "http": "net/http", "os": "os", "testing": "testing", "synctest": "testing/synctest",
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || name == "tools"):
			return fs.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		files = append(files, plain(string(text)))
		packages[path.Base(path.Dir(name))] = path.Join(module, path.Dir(name))
		return nil
	})
	require.NoError(t, err)
	return files, packages
}

// plain is code without what an excerpt may have otherwise: indentation and blank
// lines.
func plain(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func isExcerpt(code string, files []string) bool {
	code = "\n" + plain(code)
	return slices.ContainsFunc(files, func(file string) bool { return strings.Contains("\n"+file, code) })
}

// asPackage returns the files of a package that has b's code in it.
func (b *block) asPackage(t *testing.T, context string, packages map[string]string) map[string]string {
	t.Helper()
	at := fmt.Sprintf("//line %s:%d\n", b.file, b.line)
	code := at + b.code
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", "package p\n"+code, 0)
	if err != nil {
		code = "func _() {\n" + code
		file, err = parser.ParseFile(fset, "", "package p\n"+code+"\n}\n", 0)
		require.NoError(t, err, "%v is neither declarations nor statements", b)
		if used := declared(file.Decls[0].(*ast.FuncDecl).Body); len(used) > 0 {
			code += fmt.Sprintf("\n%s = %s", strings.Repeat("_, ", len(used)-1)+"_", strings.Join(used, ", "))
		}
		code += "\n}\n"
	}

	given, err := parser.ParseFile(fset, "context.go", context, parser.SkipObjectResolution)
	require.NoError(t, err)
	known := withoutThose(given, file)
	imports := ""
	seen := map[string]bool{}
	for _, id := range file.Unresolved {
		if from, ok := packages[id.Name]; ok && !known[id.Name] && !seen[id.Name] {
			seen[id.Name] = true
			imports += fmt.Sprintf("import %q\n", from)
		}
	}
	var rest strings.Builder
	require.NoError(t, printer.Fprint(&rest, fset, given))
	return map[string]string{"block.go": "package p\n" + imports + code, "context.go": rest.String()}
}

// declared lists the variables of a function's own block.
func declared(body *ast.BlockStmt) (names []string) {
	add := func(id *ast.Ident) {
		if id.Name != "_" && !slices.Contains(names, id.Name) {
			names = append(names, id.Name)
		}
	}
	for _, s := range body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			for _, left := range s.Lhs {
				if id, ok := left.(*ast.Ident); ok && s.Tok == token.DEFINE {
					add(id)
				}
			}
		case *ast.DeclStmt:
			if d, ok := s.Decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}

// withoutThose removes from given what file declares itself, and returns the names
// that are left.
func withoutThose(given, file *ast.File) map[string]bool {
	own := names(file)
	given.Decls = slices.DeleteFunc(given.Decls, func(d ast.Decl) bool {
		switch d := d.(type) {
		case *ast.FuncDecl:
			return d.Recv == nil && own[d.Name.Name] || d.Recv != nil && own[receiver(d)]
		case *ast.GenDecl:
			d.Specs = slices.DeleteFunc(d.Specs, func(s ast.Spec) bool {
				switch s := s.(type) {
				case *ast.TypeSpec:
					return own[s.Name.Name]
				case *ast.ValueSpec:
					return slices.ContainsFunc(s.Names, func(id *ast.Ident) bool { return own[id.Name] })
				}
				return false
			})
			return len(d.Specs) == 0
		}
		return false
	})
	return names(given)
}

func names(file *ast.File) map[string]bool {
	all := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				all[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					all[s.Name.Name] = true
				case *ast.ValueSpec:
					for _, id := range s.Names {
						all[id.Name] = true
					}
				}
			}
		}
	}
	return all
}

// receiver is the type that a method is of.
func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
