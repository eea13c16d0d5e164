package env

import (
	"fmt"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"
)

// Section is a part of a report: names and values under a head. The first section of a report needs no head.
type Section struct {
	Head string
	Rows [][2]string
}

// Row makes a row of a field of a message, by its name in the proto file.
func Row(name string, m proto.Message, field string) [2]string {
	return [2]string{name, Field("", field).Cell(m.ProtoReflect())}
}

// PrintReport shows one message in full: as itself with -o json, yaml and name, else by the sections.
func (e *Env) PrintReport(m proto.Message, sections ...Section) error {
	if e.output != "table" && e.output != "wide" {
		return e.Print(m, nil)
	}
	w := tabwriter.NewWriter(e.Out, 2, 0, 2, ' ', 0)
	for i, s := range sections {
		indent := ""
		if s.Head != "" {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, s.Head)
			indent = "  "
		}
		for _, r := range s.Rows {
			value := r[1]
			if value == "" {
				value = "-"
			}
			fmt.Fprintf(w, "%s%s\t%s\n", indent, Clean(r[0]), Clean(value))
		}
		if len(s.Rows) == 0 {
			fmt.Fprintln(w, indent+"-")
		}
	}
	return w.Flush()
}
