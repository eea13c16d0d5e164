package resource

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// completeTime is how long a shell waits for names.
const completeTime = 2 * time.Second

// Complete offers the names of the noun that there are to the shell, for the first most arguments.
func (n *Noun) Complete(e *env.Env, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.offer(cmd, e, typed, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// offer lists names that begin with what was typed. An API that can't be asked has none.
func (n *Noun) offer(cmd *cobra.Command, e *env.Env, typed string, but []string) []cobra.Completion {
	if e.Connect() != nil || apiOf(n.Kind).list == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(cmd.Context(), completeTime)
	defer stop()
	parents, err := n.parents(e, cmd.Flags())
	if err != nil {
		return nil
	}
	all, _, err := n.list(ctx, e, query{parents: parents, limit: mostPage})
	if err != nil {
		return nil
	}
	var out []cobra.Completion
	items := all.Get(listField(all.Descriptor())).List()
	for i := range items.Len() {
		m := items.Get(i).Message()
		name := n.short(e, cmd.Flags(), m, typed)
		if strings.HasPrefix(name, typed) && !contains(but, name) {
			out = append(out, cobra.CompletionWithDesc(name, n.about(m)))
		}
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// short is a resource's name as it may be typed: its last part where that says enough.
func (n *Noun) short(e *env.Env, flags *pflag.FlagSet, m protoreflect.Message, typed string) string {
	full := text(m, "name")
	if strings.Contains(typed, "/") {
		return full
	}
	last := full[strings.LastIndexByte(full, '/')+1:]
	if n.Kind == userKind {
		last = login(m)
	}
	if name, err := n.FullName(e, flags, last); err == nil && name == full {
		return last
	}
	return full
}

// about is a few words on a resource, from the first columns that are not its name.
func (n *Noun) about(m protoreflect.Message) string {
	var words []string
	for _, c := range n.Columns {
		if v := c.Cell(m); v != "" && !c.InName && !c.Wide && len(words) < 3 {
			words = append(words, env.Clean(v))
		}
	}
	return strings.Join(words, " ")
}

// words offers a fixed list.
func offerWords(list []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}

// completeField offers what a flag for a field takes: the words of an enum, true or false, the names that it may refer to.
func completeField(cmd *cobra.Command, e *env.Env, flag string, f protoreflect.FieldDescriptor) {
	var offer cobra.CompletionFunc
	switch {
	case f.Enum() != nil:
		offer = offerWords(manifest.EnumNames(f.Enum()))
	case f.Kind() == protoreflect.BoolKind:
		offer = offerWords([]string{"true", "false"})
	default:
		ref, ok := proto.GetExtension(f.Options(), annotations.E_ResourceReference).(*annotations.ResourceReference)
		if !ok {
			return
		}
		kind := ref.GetType()[strings.LastIndexByte(ref.GetType(), '/')+1:]
		offer = func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			for _, n := range table {
				if n.Kind == kind { // a reference is a full name
					return n.offer(cmd, e, "tenants/"+strings.TrimPrefix(typed, "tenants/"), nil), cobra.ShellCompDirectiveNoFileComp
				}
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	// It fails only for a flag that there is not, or twice for one: a test that makes the commands would see it.
	_ = cmd.RegisterFlagCompletionFunc(flag, offer)
}

// CompleteWords offers the words of an enum to each flag that is called as a field of the message.
func CompleteWords(cmd *cobra.Command, m protoreflect.MessageDescriptor) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if flag := strings.ReplaceAll(string(f.Name()), "_", "-"); f.Enum() != nil && cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, offerWords(manifest.EnumNames(f.Enum()))) // the flag is there, and once
		}
	}
}

// CompleteFlags offers what the flags take that every verb has.
func CompleteFlags(cmd *cobra.Command, e *env.Env) {
	for flag, offer := range map[string]cobra.CompletionFunc{
		"output": offerWords(env.Outputs),
		"tenant": ByName("tenant").Complete(e, mostPage),
		"profile": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return e.Profiles(), cobra.ShellCompDirectiveNoFileComp
		},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, offer) // as above
	}
}
