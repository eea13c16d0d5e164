package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/cmd/ctl/env"
)

// again is how long a watch that broke off waits before it is resumed.
const again = time.Second

// Watch makes the verb that prints what there is of the noun, then each change.
func (n *Noun) Watch(e *env.Env) *cobra.Command {
	var revision string
	cmd := &cobra.Command{
		Use: "watch", Short: "Print " + n.many() + ", then each change as it happens", Args: env.Args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: fmt.Sprintf(`Prints all %s, then each change as it happens, until it is interrupted. A connection that breaks off
is made anew, and the watch goes on where it was.

With -o json each message of the watch is one line; its revision, given to --revision, resumes after it.`, n.many()),
		RunE: e.Verb(func(cmd *cobra.Command, _ []string) error {
			parents, err := n.parents(e, cmd.Flags())
			if err != nil {
				return err
			}
			if revision != "" && len(parents) > 1 {
				return fmt.Errorf("%w: --revision needs --tenant here: without, two watches are printed", env.ErrUsage)
			}
			return n.follow(cmd.Context(), e, parents, revision)
		}),
	}
	cmd.Flags().StringVar(&revision, "revision", "", "resume after this revision")
	n.addBetween(cmd.Flags(), "only those")
	return cmd
}

// follow prints the watches of all parents until ctx ends.
func (n *Noun) follow(ctx context.Context, e *env.Env, parents []string, revision string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := &printer{n: n, e: e, seen: make(map[string]string), lost: make(map[string]bool)}
	results := make(chan error, len(parents))
	for _, parent := range parents {
		go func() {
			err := n.resume(ctx, e, parent, revision, p)
			if parent == "" && len(parents) > 1 && status.Code(err) == codes.PermissionDenied {
				err = nil // as in a list
			}
			results <- err
		}()
	}
	var first error
	for range parents {
		if err := <-results; err != nil && first == nil {
			first = err
			stop()
		}
	}
	return first
}

// passing says whether an error may be gone at the next try: the API is away, or the watch was cut because its reader was
// slow.
func passing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	return false
}

// resume watches below one parent, and goes on where it was when the connection breaks off.
func (n *Noun) resume(ctx context.Context, e *env.Env, parent, revision string, p *printer) error {
	resumed, told := false, false
	for {
		got, err := n.stream(ctx, e, parent, &revision, p)
		resumed = resumed || got
		if got {
			told = false
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case resumed && status.Code(err) == codes.OutOfRange:
			p.anew(parent)
			revision = ""
		case resumed && passing(err):
			if !told {
				p.note(env.Describe(err) + "; trying again")
				told = true
			}
		default:
			return err
		}
		if !e.Sleep(ctx, again) {
			return nil
		}
	}
}

// stream is one watch until it ends. revision is kept at the last message's; got says that there was one.
func (n *Noun) stream(ctx context.Context, e *env.Env, parent string, revision *string, p *printer) (got bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := apiOf(n.Kind).watch
	req := request(m)
	set(req, "parent", parent)
	set(req, "revision", *revision)
	s, err := e.Conn.NewStream(ctx, &grpc.StreamDesc{StreamName: string(m.Name()), ServerStreams: true}, path(m))
	if err != nil {
		return false, err
	}
	if err := s.SendMsg(req.Interface()); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if err := s.CloseSend(); err != nil {
		return false, err
	}
	for {
		out := message(string(m.Output().FullName())).New()
		if err := s.RecvMsg(out.Interface()); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return got, err
		}
		if err := p.print(parent, out); err != nil {
			return got, err
		}
		if r := text(out, "revision"); r != "" {
			*revision = r
		}
		got = true
	}
}

// printer prints the messages of watches, one at a time.
type printer struct {
	n    *Noun
	e    *env.Env
	mu   sync.Mutex
	seen map[string]string // names that are there, and below which parent
	lost map[string]bool   // names of a watch that begins anew, and which it has not named yet
}

// note tells people something.
func (p *printer) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.e.Err, "ctl: "+s)
}

// anew says that the watch below a parent begins with what there is now. What it does not name then is gone.
func (p *printer) anew(parent string) {
	p.note("what happened meanwhile can't be told any more: this is what there is now")
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, of := range p.seen {
		if of == parent {
			p.lost[name] = true
		}
	}
}

func (p *printer) print(parent string, m protoreflect.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	fields := m.Descriptor().Fields()
	upsert, removed, done := fields.ByName("upsert"), fields.ByName("removed"), fields.ByName("snapshot_done")
	line := "" // a message without an event, which only says how far the watch is, is for programs
	switch {
	case m.Has(upsert):
		line = p.upsert(parent, m.Get(upsert).Message())
	case m.Has(removed):
		line = p.removed(m.Get(removed).String())
	case m.Has(done):
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(p.lost)) {
			if p.seen[name] == parent {
				lines = append(lines, p.removed(name))
			}
		}
		line = strings.Join(lines, "\n")
	}
	return p.e.Event(m.Interface(), line)
}

// removed is the line for one that is gone.
func (p *printer) removed(name string) string {
	delete(p.seen, name)
	delete(p.lost, name)
	if p.e.Names() {
		return ""
	}
	return fmt.Sprintf("%-14s %s", "REMOVED", env.Clean(name))
}

// upsert is the line for one that is there: its name, and the columns of the table that say something.
func (p *printer) upsert(parent string, m protoreflect.Message) string {
	name := text(m, "name")
	what := "ADDED"
	if _, known := p.seen[name]; known {
		what = "CHANGED"
	}
	if !p.n.Trail { // it would grow for ever
		p.seen[name] = parent
	}
	delete(p.lost, name)
	switch {
	case p.e.Names():
		return env.Clean(name)
	case p.n.Line != nil:
		return env.Clean(p.n.Line(m.Interface()))
	}
	parts := []string{fmt.Sprintf("%-14s %s", what, name)}
	for _, c := range p.n.Columns {
		if v := c.Cell(m); v != "" && !c.InName && (!c.Wide || p.e.Wide()) {
			if strings.Contains(v, " ") {
				v = strconv.Quote(v)
			}
			parts = append(parts, strings.ReplaceAll(strings.ToLower(c.Head), " ", "-")+"="+v)
		}
	}
	return env.Clean(strings.Join(parts, "  "))
}
