package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Where the key of the first pair stands in the arguments of each method of a logger.
var logMethods = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
	"Log": 3, "With": 0,
}

// Functions of slog that make an attribute from a key.
var attrMakers = map[string]bool{
	"Any": true, "Bool": true, "Duration": true, "Float64": true, "Group": true, "Int": true, "Int64": true, "String": true,
	"Time": true, "Uint64": true,
}

// TestLogCalls: every log line of the daemon has a constant message, and keys from keys.go only, each with its value.
func TestLogCalls(t *testing.T) {
	const root = "../.."
	fset := token.NewFileSet()
	calls := 0
	for _, dir := range []string{"internal", "cmd/concentrator"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, problem := range logFaults(call, filepath.Base(filepath.Dir(path)) == "telemetry", &calls) {
					t.Errorf("%s: %s", fset.Position(call.Pos()), problem)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if calls < 100 {
		t.Errorf("found only %d log lines: the test does not see them", calls)
	}
}

// logFaults says what is wrong with a call, if it is one of a logger, and counts those; inside: it is of package telemetry.
func logFaults(call *ast.CallExpr, inside bool, calls *int) (faults []string) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if pkg, ok := fun.X.(*ast.Ident); ok && pkg.Name == "slog" && attrMakers[fun.Sel.Name] {
		if len(call.Args) > 0 && !isKey(call.Args[0], inside) {
			faults = append(faults, "the key of slog."+fun.Sel.Name+" is not of package telemetry")
		}
		return faults
	}
	first, ok := logMethods[fun.Sel.Name]
	if !ok || !isLogger(fun.X) || len(call.Args) < first {
		return nil
	}
	*calls++
	if first > 0 && !isText(call.Args[first-1]) {
		faults = append(faults, "the message is no constant")
	}
	if call.Ellipsis.IsValid() { // pairs that were put together before
		return faults
	}
	pairs := call.Args[first:]
	if len(pairs)%2 != 0 {
		faults = append(faults, "a key without a value")
	}
	for i := 0; i < len(pairs); i += 2 {
		if !isKey(pairs[i], inside) {
			faults = append(faults, "a key that is not of package telemetry")
		}
	}
	return faults
}

// isLogger says whether an expression is called as loggers are in this tree: log, s.log, m.cfg.Log, logger().
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return strings.EqualFold(x.Name, "log") || x.Name == "slog"
	case *ast.SelectorExpr:
		return strings.EqualFold(x.Sel.Name, "log")
	case *ast.CallExpr: // s.logger().Info, s.log.With(…).Info
		if f, ok := x.Fun.(*ast.SelectorExpr); ok {
			return f.Sel.Name == "logger" || f.Sel.Name == "With" && isLogger(f.X)
		}
	}
	return false
}

// isKey says whether an expression is a constant of this package, seen from inside or outside.
func isKey(x ast.Expr, inside bool) bool {
	if name, ok := x.(*ast.Ident); ok && inside {
		return ast.IsExported(name.Name)
	}
	s, ok := x.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	return ok && pkg.Name == "telemetry"
}

func isText(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.BasicLit:
		return x.Kind == token.STRING
	case *ast.BinaryExpr:
		return isText(x.X) && isText(x.Y)
	}
	return false
}

// TestLogFaults: the test above finds what it looks for.
func TestLogFaults(t *testing.T) {
	for src, want := range map[string]int{
		`log.Info("a", telemetry.User, u)`:           0,
		`s.log.Warn("a", "user", u)`:                 1,
		`m.cfg.Log.Error("a", telemetry.User)`:       2 - 1,
		`log.Info(fmt.Sprint(u), telemetry.User, u)`: 1,
		`s.log.With("x", 1).Debug("a")`:              0, // the inner call is looked at by itself
		`s.log.With("x", 1)`:                         1,
		`log.Log(ctx, level, "a", "k", v)`:           1,
		`g.logger().Info("a", "k", v)`:               1,
		`slog.String("k", v)`:                        1,
		`slog.String(telemetry.User, v)`:             0,
		`t.Error("a", "k", v)`:                       0,
	} {
		x, err := parser.ParseExpr(src)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if got := logFaults(x.(*ast.CallExpr), false, &n); len(got) != want {
			t.Errorf("%s: %q, want %d faults", src, got, want)
		}
	}
}
