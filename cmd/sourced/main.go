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
		case "catalogue":
			return runCatalogue(args[1:], stdout, stderr)
		}
	}
	flags := flag.NewFlagSet("sourced", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; exit with 1 when a file would change")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: sourced [-check] [folder ...]\n       "+catalogueUsage)
		flags.PrintDefaults()
	}
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
		if err := runDir(dir, *check, stdout); err != nil {
			printError(stderr, err)
			code = 1
		}
	}
	return code
}

// runDir brings the generated files of one folder up to date.
func runDir(dir string, check bool, stdout io.Writer) error {
	out, err := generate(dir)
	if err != nil {
		return err
	}
	return write(dir, out, check, stdout)
}
