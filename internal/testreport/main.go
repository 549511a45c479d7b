package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("no-skip", "", "file that names the tests which may skip")
	flag.Parse()
	var allowed []string
	if *skips != "" {
		data, err := os.ReadFile(*skips)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testreport:", err)
			os.Exit(2)
		}
		allowed = names(string(data))
	}
	r := report{out: os.Stdout, output: map[string]*strings.Builder{}, count: map[string]int{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	if !r.sumUp(allowed, *skips != "") {
		os.Exit(1)
	}
}

// names returns the lines of a table, without comments.
func names(table string) []string {
	var all []string
	for line := range strings.Lines(table) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type report struct {
	out      io.Writer
	output   map[string]*strings.Builder // of what still runs
	count    map[string]int              // action → tests
	packages []string
	skipped  []skip
	failed   bool
}

type skip struct{ name, reason string }

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil {
				r.add(e)
			} else {
				fmt.Fprint(r.out, line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		b := r.output[key]
		if b == nil {
			b = &strings.Builder{}
			r.output[key] = b
		}
		b.WriteString(e.Output)
		return
	case "build-output":
		fmt.Fprint(r.out, e.Output)
		return
	case "build-fail":
		r.failed = true
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	text := ""
	if b := r.output[key]; b != nil {
		text = b.String()
		delete(r.output, key)
	}
	if e.Action == "fail" {
		r.failed = true
		if e.Test == "" {
			r.unfinished(e.Package)
		}
		fmt.Fprint(r.out, text)
	}
	if e.Test == "" {
		if e.Action != "skip" { // a package without tests
			word := map[string]string{"pass": "ok  ", "fail": "FAIL"}[e.Action]
			r.packages = append(r.packages, fmt.Sprintf("%s %s %.1fs", word, e.Package, e.Elapsed))
		}
		return
	}
	r.count[e.Action]++
	if e.Action == "skip" {
		r.skipped = append(r.skipped, skip{shortName(e.Package) + " " + e.Test, reason(text)})
	}
}

// unfinished prints the output of the tests of a package that ended without a
// verdict, because the process did: by a panic, a timeout or a signal. The
// trace is in one of them.
func (r *report) unfinished(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(r.output)) {
		if !strings.HasPrefix(key, pkg+" ") || key == pkg+" " {
			continue
		}
		fmt.Fprintf(r.out, "%s did not end:\n%s", key, r.output[key])
		delete(r.output, key)
		r.count["fail"]++
	}
}

// shortName is a package without the module's path.
func shortName(pkg string) string {
	if parts := strings.SplitN(pkg, "/", 4); len(parts) == 4 {
		return parts[3]
	}
	return pkg
}

// reason is what a skipped test said last.
func reason(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			return line
		}
	}
	return "without a reason"
}

// sumUp prints the totals and reports whether all is well.
func (r *report) sumUp(allowed []string, noSkip bool) bool {
	slices.Sort(r.packages)
	for _, p := range r.packages {
		fmt.Fprintln(r.out, p)
	}
	ok := !r.failed
	for _, s := range r.skipped {
		note := ""
		if noSkip && !slices.Contains(allowed, s.name) {
			note = "  (may not skip: see scripts/skips.txt)"
			ok = false
		}
		fmt.Fprintf(r.out, "skip %s: %s%s\n", s.name, s.reason, note)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.count["pass"], r.count["fail"], r.count["skip"])
	return ok
}
