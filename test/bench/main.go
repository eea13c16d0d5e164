package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errUsage is returned for a command line that makes no sense.
var errUsage = errors.New("wrong usage")

// bench is one run.
type bench struct {
	run          *Run
	paths        []path
	queues       []int
	modes        []bool // with offload or without
	rounds       int
	short        bool
	shardCPU     int // that the dataplane pins its first shard to
	otherCPU     int // another one; the same if there is no other
	generatorCPU int
	stderr       io.Writer
}

// part is something to measure: it returns the objects for its JSON file, of which show makes a table.
type part struct {
	name, what string
	measure    func(context.Context, *bench) (any, error)
	show       func(json.RawMessage) (table, error)
}

// showing makes a part's show of what makes a table of its objects.
func showing[T any](tabulate func(T) table) func(json.RawMessage) (table, error) {
	return func(raw json.RawMessage) (table, error) {
		var objects T
		if err := json.Unmarshal(raw, &objects); err != nil {
			return table{}, err
		}
		return tabulate(objects), nil
	}
}

// parts are in the order in which they run.
var parts = []part{
	{"paths", "shard CPU time of a packet against crypto and I/O alone", partPaths, showing(pathTable)},
	{"crypto", "the batch calls of esp and mppe in a loop of their own", partCrypto, showing(hotTable)},
	{"tcp", "TCP through a session with segmentation offload and without", partTCP, showing(tcpTable)},
	{"udp", "single UDP packets through a session, and a flood", partUDP, showing(udpTable)},
	{"sessions", "the daemon with 1000 sessions of loadgen", partSessions, showing(sessionsTable)},
	{"others", "the daemon and other servers, where they are installed", partOthers, showing(othersTable)},
	{"shards", "one shard and two", partShards, showing(shardTable)},
	{"fairness", "one session while another sends ten times its limit", partFairness, showing(fairTable)},
	{"gc", "the garbage collector at full speed", partGC, showing(gcTable)},
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", strings.Join(names, ","), "parts to measure")
	onPaths := flags.String("paths", strings.Join(pathNames(), ","), "paths to measure")
	rounds := flags.Int("rounds", 11, "rounds of each measurement")
	queues := flags.String("queues", "hot,cold", "how many packets wait in part \"paths\": hot 256, cold 4096")
	modes := flags.String("modes", "offload,single", "in part \"paths\": trains and segmentation offload, single packets without")
	generator := flags.String("generator", "other", "CPU that fills the queues in part \"paths\": the shard's, \"same\", or \"other\"")
	out := flags.String("out", "out", "folder for the JSON files")
	short := flags.Bool("short", false, "shorter runs, for trying it out")
	limit := flags.Duration("limit", 25*time.Minute, "give up after this time")
	list := flags.Bool("list", false, "name the parts")
	report := flags.Bool("report", false, "measure nothing: print the figures in -out as Markdown")
	into := flags.String("into", "", "with -report: a page whose last section they become")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	switch {
	case *list:
		for _, p := range parts {
			fmt.Fprintf(stdout, "%-10s%s\n", p.name, p.what)
		}
		return nil
	case *report && *into != "":
		return replaceReport(*into, *out)
	case *report:
		return printReport(stdout, *out)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: namespaces, raw sockets and TUN devices need root", errUsage)
	}
	b := &bench{run: newRun(), rounds: *rounds, short: *short, stderr: stderr}
	if err := errors.Join(b.choosePaths(*onPaths), b.chooseQueues(*queues), b.chooseModes(*modes), b.chooseCPUs(*generator)); err != nil {
		return err
	}
	chosen, err := chooseParts(*only)
	if err != nil {
		return err
	}
	if *rounds < 1 {
		return fmt.Errorf("%w: %d rounds", errUsage, *rounds)
	}
	b.run.Rounds, b.run.Generator = *rounds, *generator
	if err := removeStale(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	var failed error
	for _, p := range chosen {
		begin := time.Now()
		objects, err := p.measure(ctx, b)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			continue // the other parts may do
		}
		b.progress("%s: %v", p.name, time.Since(begin).Round(time.Second))
		raw, err := json.Marshal(objects)
		if err != nil {
			return errors.Join(failed, err)
		}
		t, err := p.show(raw)
		if err = errors.Join(err, store(*out, p.name, raw)); err != nil {
			return errors.Join(failed, err)
		}
		t.print(stdout)
	}
	fmt.Fprintln(stdout, b.run.String())
	return failed
}

// progress tells people what is going on.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// closing gives something back at the end of a part, and tells people if that failed.
func (b *bench) closing(part string, f func() error) {
	if err := f(); err != nil {
		b.progress("%s: %v", part, err)
	}
}

func (b *bench) choosePaths(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		p, ok := findPath(name)
		if !ok {
			return fmt.Errorf("%w: no path %q; there are %s", errUsage, name, strings.Join(pathNames(), ", "))
		}
		b.paths = append(b.paths, p)
	}
	return nil
}

func (b *bench) chooseQueues(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "hot":
			b.queues = append(b.queues, hotQueue)
		case "cold":
			b.queues = append(b.queues, coldQueue)
		default:
			return fmt.Errorf("%w: no queue %q", errUsage, name)
		}
	}
	return nil
}

func (b *bench) chooseModes(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "offload":
			b.modes = append(b.modes, true)
		case "single":
			b.modes = append(b.modes, false)
		default:
			return fmt.Errorf("%w: no mode %q", errUsage, name)
		}
	}
	return nil
}

func (b *bench) chooseCPUs(generator string) error {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	b.shardCPU, b.otherCPU = cpus[0], cpus[len(cpus)-1]
	switch generator {
	case "same":
		b.generatorCPU = b.shardCPU
	case "other":
		b.generatorCPU = b.otherCPU
	default:
		return fmt.Errorf("%w: the generator's CPU is \"same\" or \"other\"", errUsage)
	}
	return nil
}

func chooseParts(names string) (chosen []part, err error) {
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: no part %q", errUsage, name)
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}
