// Command asm writes the dataplane's assembly and its Go declarations: asm ROOT, the repository's folder.
// docs/crypto-kernels.md tells of the kernels; how a kernel works is said here, where it is made.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// files are what is written: NAME_amd64.s and NAME_amd64.go in a package's folder.
var files = []struct {
	folder, name string
	make         func(c *build.Context)
}{
	{"internal/dataplane/cpu", "cpuid", cpuid},
	{"internal/dataplane/checksum", "sum", sum},
	{"internal/dataplane/multibuf", "aes", aes},
	{"internal/dataplane/multibuf", "sha1", sha1},
	{"internal/dataplane/multibuf", "sha256", sha256},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: asm ROOT")
		os.Exit(2)
	}
	for _, f := range files {
		if err := write(filepath.Join(os.Args[1], f.folder), f.name, f.make); err != nil {
			fmt.Fprintf(os.Stderr, "asm: %s: %v\n", f.name, err)
			os.Exit(1)
		}
	}
}

func write(folder, name string, generate func(c *build.Context)) error {
	c := build.NewContext()
	c.ConstraintExpr("!purego")
	generate(c)
	file, err := c.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Name: "tools/asm", Pkg: filepath.Base(folder)}
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name+"_amd64"+ext), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
