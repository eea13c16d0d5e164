package resource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
)

// every is how often a list on a terminal is drawn anew with --watch.
const every = 2 * time.Second

// List makes the verb that lists the noun.
func (n *Noun) List(e *env.Env) *cobra.Command {
	var q query
	var watch bool
	a := apiOf(n.Kind)
	cmd := &cobra.Command{
		Use: "list", Short: "List " + n.many() + ofTenant(a), Args: env.Args(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	if a.list.Input().Fields().ByName("filter") != nil {
		flags.StringVar(&q.filter, "filter", "",
			"only those that match, as in '"+n.Filter+"'; fields as -o json spells them")
		flags.StringVar(&q.order, "order-by", "", `sort by these fields, as in "`+n.Order+`"`)
	}
	flags.IntVar(&q.limit, "limit", n.Limit, "at most so many; 0 is all")
	flags.BoolVarP(&watch, "watch", "w", false,
		"go on: draw the list anew as it changes; not on a terminal, print changes as the verb watch does")
	n.addBetween(flags, "only those")
	if n.Narrow != nil {
		q.narrow = n.Narrow(flags)
	}
	CompleteWords(cmd, a.list.Input())
	cmd.RunE = e.Verb(func(cmd *cobra.Command, _ []string) error {
		if q.limit < 0 {
			return fmt.Errorf("%w: --limit %d is negative", env.ErrUsage, q.limit)
		}
		var err error
		if q.parents, err = n.parents(e, flags); err != nil {
			return err
		}
		if q.narrow != nil {
			// What is wrong with a flag is said before the API is asked.
			if err := q.narrow(request(a.list)); err != nil {
				return err
			}
		}
		switch {
		case !watch:
			return n.once(cmd.Context(), e, q)
		case e.Width(e.Out) > 0 && e.People():
			return n.redraw(cmd.Context(), e, q)
		case q.filter != "" || q.order != "" || cmd.Flags().Changed("limit") || a.watch == nil:
			return fmt.Errorf("%w: --watch with --filter, --order-by or --limit, or of what can't be watched, is for a terminal",
				env.ErrUsage)
		}
		return n.follow(cmd.Context(), e, q.parents, "")
	})
	return cmd
}

// ofTenant says in help what a list is of.
func ofTenant(a api) string {
	if a.list.Input().Fields().ByName("parent") == nil {
		return ""
	}
	return ", of all tenants or of --tenant"
}

// once lists, and says when there are more.
func (n *Noun) once(ctx context.Context, e *env.Env, q query) error {
	all, more, err := n.list(ctx, e, q)
	if err != nil {
		return err
	}
	err = e.PrintList(all.Interface(), n.Columns)
	if more {
		_, talk := fmt.Fprintf(e.Err, "There are more than these %d; --limit 0 lists all.\n", q.limit)
		err = errors.Join(err, talk)
	}
	return err
}

// redraw lists again and again, in the place of the list before. It outlives an API that is gone for a while.
func (n *Noun) redraw(ctx context.Context, e *env.Env, q query) error {
	for first := true; ; first = false {
		all, _, err := n.list(ctx, e, q)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || !passing(err)):
			return err
		case err != nil:
			err = e.Screen(nil, nil, env.Describe(err))
		default:
			err = e.Screen(all.Interface(), n.Columns, "")
		}
		if err != nil {
			return err
		}
		if !e.Sleep(ctx, every) {
			return nil
		}
	}
}
