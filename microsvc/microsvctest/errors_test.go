package microsvctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/microsvc"
)

// TestEveryErrorHasACode: each exported Err… variable of the framework is one of
// [Sentinels], or stands in [Elsewhere] with a reason. That the first have codes is
// seen by [RunClient], and here, where it says which one has none.
func TestEveryErrorHasACode(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range Sentinels {
		require.False(t, known[s.Name], "%s is there twice", s.Name)
		known[s.Name] = true
		svc := microsvc.New("s").WithOptions(microsvc.Options{Logger: slog.New(slog.DiscardHandler)}).
			Register(microsvc.Handle("return", func(*microsvc.Context, any) (any, error) { return nil, s.Err }))
		_, p := svc.Answer(t.Context(), microsvc.Request{Command: "return", Input: []byte("1")})
		require.ErrorIs(t, p, s.Err, "%s has no code: give it one in microsvc/problem.go", s.Name)
	}
	found := exportedErrors(t, "../..")
	require.Greater(t, len(found), 50)
	for _, name := range found {
		reason, elsewhere := Elsewhere[name]
		require.NotEqual(t, known[name], elsewhere, "%s: add it to Sentinels, with a code in microsvc/problem.go, or to Elsewhere if no handler returns it", name)
		require.Equal(t, elsewhere, reason != "")
	}
	for name := range Elsewhere {
		require.Contains(t, found, name, "it is gone")
	}
	for name := range known {
		require.True(t, strings.HasPrefix(name, "context.") || slices.Contains(found, name), "%s is gone", name)
	}
}

// exportedErrors are the Err… variables of the packages that ship, as
// "journal/sqlite.ErrSchema".
func exportedErrors(t *testing.T, root string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			inner := slices.Contains([]string{"bench", "cmd", "examples", "internal", "testdata", "tools"}, base)
			if inner || name != "." && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(base) != ".go" || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, ident := range spec.(*ast.ValueSpec).Names {
					if rest, ok := strings.CutPrefix(ident.Name, "Err"); ok && rest != "" && ast.IsExported(rest) {
						names = append(names, path.Dir(name)+"."+ident.Name)
					}
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	return names
}
