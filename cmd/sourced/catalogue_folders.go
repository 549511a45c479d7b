package main

import (
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// folder is one folder to read.
type folder struct {
	dir    string
	walked bool // found by a pattern, so it need not hold a package
}

// expand returns the folders that args name, each once: x/... is x and what is
// below it, as for the go command.
func expand(args []string) ([]folder, error) {
	var all []folder
	seen := map[string]int{} // by absolute path: place in all
	add := func(f folder) error {
		abs, err := filepath.Abs(f.dir)
		if err != nil {
			return err
		}
		if i, twice := seen[abs]; twice {
			all[i].walked = all[i].walked && f.walked
			return nil
		}
		seen[abs] = len(all)
		all = append(all, f)
		return nil
	}
	for _, arg := range args {
		top, walk := strings.CutSuffix(filepath.ToSlash(arg), "...")
		if !walk || top != "" && !strings.HasSuffix(top, "/") {
			if err := add(folder{dir: filepath.Clean(arg)}); err != nil {
				return nil, err
			}
			continue
		}
		if top == "" {
			top = "."
		}
		top = filepath.Clean(top)
		err := filepath.WalkDir(top, func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if dir != top && skipped(dir, d.Name()) {
				return fs.SkipDir
			}
			return add(folder{dir: dir, walked: true})
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// skipped reports whether a pattern leaves out the folder dir and all below: it
// holds test data, other people's code or another module, or hides.
func skipped(dir, base string) bool {
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// importPath returns the path that the package in dir is imported by. Without a
// go.mod above it, it is the folder as written.
func importPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for root := abs; ; root = filepath.Dir(root) {
		name := filepath.Join(root, "go.mod")
		text, err := os.ReadFile(name)
		if err == nil {
			module := modulePath(string(text))
			if module == "" {
				return "", fmt.Errorf("%s: no module line: write module and its path", name)
			}
			rel, err := filepath.Rel(root, abs)
			if err != nil {
				return "", err
			}
			if rel == "." {
				return module, nil
			}
			return module + "/" + filepath.ToSlash(rel), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if root == filepath.Dir(root) {
			return filepath.ToSlash(filepath.Clean(dir)), nil
		}
	}
}

// modulePath reads the module line of a go.mod.
func modulePath(text string) string {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		if len(words) != 2 || words[0] != "module" {
			continue
		}
		if unquoted, err := strconv.Unquote(words[1]); err == nil {
			return unquoted
		}
		return words[1]
	}
	return ""
}

// hasDirectives reports whether a comment of the package is a //sourced: line,
// or was meant to be.
func (s *source) hasDirectives() bool {
	for _, f := range s.files {
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				d, ok := ast.ParseDirective(c.Pos(), c.Text)
				if ok && d.Tool == "sourced" || almost.MatchString(c.Text) {
					return true
				}
			}
		}
	}
	return false
}
