package resource

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
)

// Related is something else that belongs to a resource.
type Related struct {
	Head string
	Noun string // of what is shown
	// Parent is below what to look, for the resource; nil is its tenant.
	Parent func(protoreflect.Message) string
	// Filter is which; "" is nothing to look for.
	Filter func(protoreflect.Message) string
	Order  string
	Limit  int
}

// Describe makes the verb that shows one of the noun in full, and what belongs to it.
func (n *Noun) Describe(e *env.Env) *cobra.Command {
	use, args := n.args()
	cmd := &cobra.Command{
		Use: "describe " + use, Short: "Show all of one " + n.Name + ", and what belongs to it", Args: args,
		ValidArgsFunction: n.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := n.named(e, cmd.Flags(), args)
			if err != nil {
				return err
			}
			m, err := n.read(cmd.Context(), e, name)
			if err != nil {
				return err
			}
			if !e.People() {
				return e.Print(m.Interface(), n.Columns) // programs ask for what belongs to it by itself
			}
			var b strings.Builder
			b.WriteString(e.Tree(m.Interface()))
			for _, r := range n.Related {
				n.related(cmd, e, r, m, &b)
			}
			_, err = io.WriteString(e.Out, b.String())
			return err
		}),
	}
	n.addBetween(cmd.Flags(), "the one")
	return cmd
}

// related writes one list below a resource. What the caller may not see, or an older daemon can't find, is said and does no
// harm to the rest.
func (*Noun) related(cmd *cobra.Command, e *env.Env, r Related, m protoreflect.Message, b *strings.Builder) {
	q := query{parents: []string{tenantOf(m)}, order: r.Order, limit: r.Limit}
	if r.Parent != nil {
		q.parents[0] = r.Parent(m)
	}
	if r.Filter != nil {
		if q.filter = r.Filter(m); q.filter == "" {
			return
		}
	}
	of := ByName(r.Noun)
	fmt.Fprintf(b, "\n%s\n", r.Head)
	all, more, err := of.list(cmd.Context(), e, q)
	if err != nil {
		fmt.Fprintf(b, "  not shown: %s\n", env.Clean(env.Describe(err)))
		return
	}
	if all.Get(listField(all.Descriptor())).List().Len() == 0 {
		b.WriteString("  -\n")
		return
	}
	table, err := e.Table(all.Interface(), of.Columns, "  ")
	if err != nil {
		fmt.Fprintf(b, "  not shown: %s\n", err)
		return
	}
	b.WriteString(table)
	if more {
		fmt.Fprintf(b, "  and more\n")
	}
}

// tenantOf is the tenant below which a resource stands; its own name if it is one, "" if it stands below none.
func tenantOf(m protoreflect.Message) string {
	parts := strings.SplitN(text(m, "name"), "/", 3)
	if len(parts) < 2 || parts[0] != "tenants" {
		return ""
	}
	return "tenants/" + parts[1]
}
