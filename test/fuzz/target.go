package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// target is one fuzz target.
type target struct {
	folder string   // of its package, from the module's
	name   string   // FuzzX
	types  []string // of its arguments
	adds   bool     // corpus.Add is its first statement
}

func (t target) String() string { return t.folder + " " + t.name }

// findTargets lists the targets below the module's folder in the order of their folders and names.
func findTargets(module string) ([]target, error) {
	var all []target
	for _, room := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(module, room), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			folder, err := filepath.Rel(module, filepath.Dir(path))
			if err != nil {
				return err
			}
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Name.Name == "Fuzz" {
					continue
				}
				t := target{folder: folder, name: f.Name.Name, adds: beginsWithCorpus(f.Body)}
				if t.types = arguments(f.Body); t.types == nil {
					return fmt.Errorf("%s: %s has no call of f.Fuzz with a function literal", path, t.name)
				}
				all = append(all, t)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// beginsWithCorpus says whether the first statement is corpus.Add(f), or in package corpus itself Add(f).
func beginsWithCorpus(body *ast.BlockStmt) bool {
	if len(body.List) == 0 {
		return false
	}
	s, ok := body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	text := types.ExprString(s.X)
	return text == "corpus.Add(f)" || text == "Add(f)"
}

// arguments lists the types of what the function given to f.Fuzz takes after its *testing.T.
func arguments(body *ast.BlockStmt) (names []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || types.ExprString(call.Fun) != "f.Fuzz" || len(call.Args) != 1 {
			return true
		}
		if f, ok := call.Args[0].(*ast.FuncLit); ok {
			for _, p := range f.Type.Params.List[1:] {
				for range max(1, len(p.Names)) { // it may have none
					names = append(names, strings.ReplaceAll(types.ExprString(p.Type), "byte", "uint8"))
				}
			}
		}
		return false
	})
	return names
}
