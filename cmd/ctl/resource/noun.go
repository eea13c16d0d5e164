// Package resource has the verbs that every noun of ctl has: get, list, watch and describe, and of what is configured
// create, update and delete. The nouns stand in one table; what their verbs and flags are, the API's own descriptors say, so that a
// new field is a new flag and a new kind a new row. Verbs that only one noun has stand beside: testing a RADIUS server, a
// tenant's pre-shared keys and the import of users here, those of live nouns in packages of their own.
package resource

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// Noun is one noun: a kind of resource, and how ctl shows it.
type Noun struct {
	Name    string // as typed
	Kind    string // as the API spells it
	Short   string // one line of help
	Many    string // the plural in help; "": Name and an s
	Columns []env.Column
	// Trail says that the kind is a trail: there are only ever more of it, none changes, and no parent means all of them, where
	// for other kinds it means those that stand under no tenant.
	Trail bool
	// Limit is how many are listed where nothing else is said; 0 is all.
	Limit int
	// Alone is the name that a verb means when it is given none.
	Alone string
	// Line, when set, shows one as a line of watch.
	Line func(proto.Message) string
	// Filter and Order are examples of --filter and --order-by.
	Filter, Order string
	// Narrow, when set, adds flags of its own to list, and returns what brings them into the request.
	Narrow func(*pflag.FlagSet) func(protoreflect.Message) error
	// Related is what describe shows below.
	Related []Related
}

// many is the plural for help.
func (n *Noun) many() string {
	if n.Many != "" {
		return n.Many
	}
	return n.Name + "s"
}

// one is the noun with its article, for help.
func (n *Noun) one() string {
	if strings.ContainsRune("aeio", rune(n.Name[0])) {
		return "an " + n.Name
	}
	return "a " + n.Name
}

// Command makes the noun's command: with the verbs that the API has for its kind, and more.
func (n *Noun) Command(e *env.Env, more ...*cobra.Command) *cobra.Command {
	a := apiOf(n.Kind)
	var verbs []*cobra.Command
	if k, err := manifest.KindOf(n.Kind); err == nil {
		verbs = append(verbs, n.create(e, k), n.update(e, k), n.Delete(e))
	}
	if a.list != nil {
		verbs = append(verbs, n.List(e))
	}
	if a.get != nil {
		verbs = append(verbs, n.Get(e), n.Describe(e))
	}
	if a.watch != nil {
		verbs = append(verbs, n.Watch(e))
	}
	return env.Noun(n.Name, n.Short, append(verbs, more...)...)
}

// args is how many names a verb takes that takes one.
func (n *Noun) args() (use string, check cobra.PositionalArgs) {
	if n.Alone != "" {
		return "[NAME]", env.Args(0, 1)
	}
	return "NAME", env.Args(1, 1)
}

// named is the resource name of a verb's arguments.
func (n *Noun) named(e *env.Env, flags *pflag.FlagSet, args []string) (string, error) {
	if len(args) == 0 {
		return n.Alone, nil
	}
	return n.FullName(e, flags, args[0])
}
