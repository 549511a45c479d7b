package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without the process: it returns the exit code, 0 for done, 1 for
// mistakes in the source or files out of date, 2 for a wrong command line.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "lock":
			return runLock(args[1:], stdout, stderr)
		case "catalogue":
			return runCatalogue(args[1:], stdout, stderr)
		}
	}
	return runGenerate(args, stdout, stderr)
}

// runGenerate is the command without a name.
func runGenerate(args []string, stdout, stderr io.Writer) int {
	flags := newFlags(stderr, "[-check] [-no-tests] [folder ...]\n       sourced lock [-accept] [folder ...]\n       "+catalogueUsage)
	check := flags.Bool("check", false, "write nothing; exit with 1 when a file would change")
	noTests := flags.Bool("no-tests", false, "write no test of the stored payloads")
	return runDirs(flags, args, stderr, func(dir string) error {
		out, err := generate(dir, !*noTests)
		if err != nil {
			return err
		}
		return write(dir, out, *check, stdout)
	})
}

// newFlags makes the flags of one command; usage is what follows its name.
func newFlags(stderr io.Writer, usage string) *flag.FlagSet {
	flags := flag.NewFlagSet("sourced", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: sourced "+usage)
		flags.PrintDefaults()
	}
	return flags
}

// runDirs parses args and does a command in each folder that they name, or in
// the current one.
func runDirs(flags *flag.FlagSet, args []string, stderr io.Writer, do func(dir string) error) int {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	dirs := flags.Args()
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	code := 0
	for _, dir := range dirs {
		if err := do(dir); err != nil {
			printError(stderr, err)
			code = 1
		}
	}
	return code
}
