// Command bank books a bank statement, line by line, into event-sourced
// accounts kept in one file.
//
//	go run ./examples/bank                      the shipped statement, in a temporary folder
//	go run ./examples/bank -dir data            kept in data/bank.db; run it again, or kill it and run it again
//	go run ./examples/bank -file my.csv         another statement; "-file -" is standard input
//
// However often a statement is booked and wherever it was interrupted, each of
// its lines happens once and the result is the same.
//
// The exit code is 0 when the statement was booked (refused lines are part of
// that), 1 when it could not be, 2 for a wrong command line, and 130 when it
// was interrupted.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/troupe-go/troupe/examples/bank/statement"
)

//go:generate go run ./sample -o testdata/statement.csv

//go:embed testdata/statement.csv
var shipped []byte

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	// The first Ctrl-C stops in order; after it a second one ends the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// config is the command line.
type config struct {
	dir, file string
	rejected  int // how many rejected lines to print; negative means all
	settled   func(n int)
}

// run is main without the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	}
	return cfg.run(ctx, stdin, stdout, stderr)
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("bank", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.dir, "dir", "", "folder of bank.db; a temporary one, removed at the end, if empty")
	flags.StringVar(&cfg.file, "file", "", `statement to book, "-" for standard input; the shipped one if empty`)
	flags.IntVar(&cfg.rejected, "rejected", 20, "how many rejected lines to list; -1 lists all")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "bank takes no arguments, only flags, but there is %q; see bank -h\n", flags.Arg(0))
		return cfg, errors.New("arguments")
	}
	return cfg, nil
}

func (cfg config) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) int {
	source, err := cfg.source(stdin)
	if err == nil {
		var interrupted bool
		interrupted, err = cfg.book(ctx, source, stdout, stderr)
		err = errors.Join(err, source.Close())
		if err == nil && interrupted {
			return exitInterrupted
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bank:", explain(err))
		return exitFailed
	}
	return exitDone
}

func (cfg config) source(stdin io.Reader) (*statement.Source, error) {
	switch cfg.file {
	case "":
		return statement.FromBytes(shipped)
	case "-":
		return statement.Spool(stdin)
	}
	return statement.FromFile(cfg.file)
}
