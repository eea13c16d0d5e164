// Command concentrator is the daemon. It reads its file, builds the rooms and waits for a signal; what there is to
// decide is decided in them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"concentrator/internal/config"
)

const usage = `concentrator - VPN concentrator for the clients that people already have

  concentrator serve [--config FILE] [--apply FILE]   run until SIGTERM or SIGINT
  concentrator check --config FILE                    say whether a file is right
  concentrator restore [--config FILE] [--without-accounting] BACKUP
                                                      lay a backup (of ctl instance backup; - reads it) into an empty state_dir
  concentrator version

Without --config everything has a default. --apply brings the resources of a file of YAML documents into the store
before the API says that it is ready; see docs/operations.md.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errUsage marks errors of the command line: exit code 2.
var errUsage = errors.New("wrong usage")

// run is main without the process around it: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "concentrator: %v\n\n%s", err, usage)
		return 2
	}
	fmt.Fprintf(stderr, "concentrator: %v\n", err)
	if args[0] == "serve" && errors.Is(err, fs.ErrPermission) {
		fmt.Fprintf(stderr, "concentrator: root too passes only where permissions let it: docs/operations.md, \"Rights\"\n")
	}
	return 1
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command", errUsage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", "", "the daemon's file")
	switch args[0] {
	case "serve":
		apply := flags.String("apply", "", "documents to apply first")
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		cfg, err := config.Load(*file)
		if err != nil {
			return err
		}
		rights, err := confine(ctx, cfg, *file, *apply)
		if err != nil {
			return err
		}
		return serve(ctx, cfg, rights, *apply, stderr)
	case "check":
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if *file == "" {
			return fmt.Errorf("%w: check needs --config FILE", errUsage)
		}
		if _, err := config.Load(*file); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: ok\n", *file)
		return nil
	case "restore":
		without := flags.Bool("without-accounting", false, "leave out the accounting records that waited")
		backup, err := argument(flags, args[1:], "BACKUP")
		if err != nil {
			return err
		}
		cfg, err := config.Load(*file)
		if err != nil {
			return err
		}
		return restore(ctx, cfg, backup, *without, os.Stdin, stdout)
	case "version":
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		fmt.Fprintln(stdout, version())
		return nil
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	return fmt.Errorf("%w: no command %q", errUsage, args[0])
}

// argument parses a command line with one argument, called name, before or behind the flags.
func argument(flags *flag.FlagSet, args []string, name string) (string, error) {
	if err := flags.Parse(args); err != nil {
		return "", fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() == 0 {
		return "", fmt.Errorf("%w: %s needs %s", errUsage, flags.Name(), name)
	}
	value := flags.Arg(0)
	return value, parse(flags, flags.Args()[1:])
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: %s takes no argument %q", errUsage, flags.Name(), flags.Arg(0))
	}
	return nil
}
