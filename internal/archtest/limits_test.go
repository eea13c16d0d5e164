package archtest

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestLimits: each line of the table of limits in SECURITY.md that names a constant has its value.
func TestLimits(t *testing.T) {
	_, section, found := strings.Cut(read(t, "SECURITY.md"), "\n## Limits\n")
	if !found {
		t.Fatal("SECURITY.md has no section on limits")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	where := regexp.MustCompile("^`((?:internal|cmd)/[\\w/]+\\.go)` (\\w+)$")
	checked := 0
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| limit |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Errorf("not a line of limit, default, knob and place: %s", line)
			continue
		}
		name, shown := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])
		if strings.TrimSpace(cells[2]) == "" {
			t.Errorf("%s: what is its knob? A dash says that there is none", name)
		}
		place := strings.TrimSpace(cells[3])
		m := where.FindStringSubmatch(place)
		if m == nil {
			t.Errorf("%s: %q is not a file and a name in it", name, place)
			continue
		}
		want, err := quantity(shown)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := valueIn(m[1], m[2])
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case !constant.Compare(got, token.EQL, want):
			t.Errorf("%s: SECURITY.md says %s, but %s of %s is %v", name, shown, m[2], m[1], got)
		}
		checked++
	}
	if checked < 60 {
		t.Errorf("checked only %d limits: the test does not see them", checked)
	}
}

// units are those of the table: durations in nanoseconds, sizes in octets.
var units = map[string]int64{
	"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9,
}

// quantity reads "2000", "30 s" or "64 KiB".
func quantity(text string) (constant.Value, error) {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	factor, ok := units[unit]
	if err != nil || !ok {
		return nil, fmt.Errorf("%q is not a number and a unit", text)
	}
	return constant.MakeInt64(n * factor), nil
}

// valueIn is the value of a constant or variable of a file, or what the file sets a field of that name to where nothing else is
// said: set(&c.Name, value).
func valueIn(path, name string) (constant.Value, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	values := make(map[string]ast.Expr)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if i < len(n.Values) {
					values[id.Name] = n.Values[i]
				}
			}
		case *ast.CallExpr:
			f, isName := n.Fun.(*ast.Ident)
			if !isName || f.Name != "set" || len(n.Args) != 2 {
				break
			}
			if at, ok := n.Args[0].(*ast.UnaryExpr); ok {
				if field, ok := at.X.(*ast.SelectorExpr); ok {
					values[field.Sel.Name] = n.Args[1]
				}
			}
		case *ast.AssignStmt:
			if field, ok := n.Lhs[0].(*ast.SelectorExpr); ok && len(n.Rhs) == 1 && values[field.Sel.Name] == nil {
				values[field.Sel.Name] = n.Rhs[0]
			}
		}
		return true
	})
	if values[name] == nil {
		return nil, fmt.Errorf("%s has no %s", path, name)
	}
	return evaluate(values[name], values, 0)
}

// evaluate computes a constant expression of whole numbers and of package time's units.
func evaluate(e ast.Expr, names map[string]ast.Expr, depth int) (constant.Value, error) {
	if depth > 20 {
		return nil, fmt.Errorf("%T goes in a circle", e)
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), nil
	case *ast.ParenExpr:
		return evaluate(e.X, names, depth+1)
	case *ast.Ident:
		if names[e.Name] != nil {
			return evaluate(names[e.Name], names, depth+1)
		}
	case *ast.SelectorExpr:
		unit := map[string]string{"Millisecond": "ms", "Second": "s", "Minute": "min", "Hour": "h"}[e.Sel.Name]
		if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "time" && unit != "" {
			return constant.MakeInt64(units[unit]), nil
		}
	case *ast.BinaryExpr:
		x, err := evaluate(e.X, names, depth+1)
		if err != nil {
			return nil, err
		}
		y, err := evaluate(e.Y, names, depth+1)
		if err != nil {
			return nil, err
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, token.SHL, uint(n)), nil
		}
		return constant.BinaryOp(x, e.Op, y), nil
	}
	return nil, fmt.Errorf("%T can't be computed here", e)
}

// TestValueIn has each form that a limit is written in.
func TestValueIn(t *testing.T) {
	for _, tt := range []struct{ path, name, want string }{
		{"internal/ike/ikev1/config.go", "MaxHalfOpen", "2000"},
		{"internal/ike/ikev1/config.go", "HandshakeLifetime", "1 min"},
		{"internal/ike/ikev1/config.go", "childlessSA", "5 min"},
		{"internal/server/gateway.go", "maxRequest", "1 MiB"},
	} {
		got, err := valueIn(tt.path, tt.name)
		want, errWant := quantity(tt.want)
		if err != nil || errWant != nil || !constant.Compare(got, token.EQL, want) {
			t.Errorf("%s: %v, %v; want %s", tt.name, got, err, tt.want)
		}
	}
	for _, name := range []string{"MaxNothing", "Log", "Rand"} {
		if v, err := valueIn("internal/ike/ikev1/config.go", name); err == nil {
			t.Errorf("%s is %v", name, v)
		}
	}
	for _, text := range []string{"", "many", "3 apples", "3s"} {
		if v, err := quantity(text); err == nil {
			t.Errorf("%q is %v", text, v)
		}
	}
}
