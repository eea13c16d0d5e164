// Command fuzz runs the fuzz targets of the tree and keeps what they find.
//
//	fuzz run  [-time 10s] [-lanes 2] [-within D] [WHICH]   each target for a time; a line each, and a total
//	fuzz keep [-lanes 2] [WHICH]                           what the fuzzer has found becomes the targets' corpora
//
// WHICH is a regular expression; only targets that it matches, as "internal/wire/l2tp FuzzParse", are looked at. It is
// started in the module's folder.
//
//	target.go   finds the targets
//	build.go    their test binaries
//	run.go      runs them
//	progress.go reads what they tell
//	keep.go     chooses what is worth keeping
//	cover.go    measures what an input reaches
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	lanes  int
	time   time.Duration
	within time.Duration // 0: as long as it takes
	which  *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: fuzz run|keep [flags] [WHICH]")
	}
	var o options
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	flags.IntVar(&o.lanes, "lanes", min(2, runtime.NumCPU()), "how many targets at once")
	flags.DurationVar(&o.time, "time", 10*time.Second, "how long each target runs")
	flags.DurationVar(&o.within, "within", 0, "after so long no more is begun; packages in any order, and those not reached are named")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var err error
	if o.which, err = regexp.Compile(flags.Arg(0)); err != nil {
		return err
	}
	if o.lanes < 1 || flags.NArg() > 1 {
		return fmt.Errorf("at least one lane, at most one WHICH")
	}
	targets, err := findTargets(".")
	if err != nil {
		return err
	}
	chosen := targets[:0]
	for _, t := range targets {
		if o.which.MatchString(t.String()) {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no target is called that")
	}
	switch args[0] {
	case "run":
		return run(ctx, o, chosen)
	case "keep":
		return keep(ctx, o, chosen)
	}
	return fmt.Errorf("%q: run or keep", args[0])
}
