package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/statement"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal/memory"
)

// childDir makes the test binary a bank that is to be killed.
const childDir, childFile, childStop = "BANK_TEST_CHILD_DIR", "BANK_TEST_CHILD_FILE", "BANK_TEST_CHILD_STOP"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv(childFile), os.Getenv(childStop))
	}
	os.Exit(m.Run())
}

// bank runs the program and returns its exit code and output.
func bank(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// changing are the lines that differ from run to run.
var changing = regexp.MustCompile(`(?m)^(Opening|Continuing|Took|\d+ lines had been).*\n`)

// results is what must be the same however often a statement was booked.
func results(stdout string) string { return changing.ReplaceAllString(stdout, "") }

// beginning is the first part of the shipped statement, as text and as a file.
// All of it is booked by the tests that do not have to do so several times.
func beginning(t *testing.T) (text, file string) {
	t.Helper()
	lines := strings.SplitAfter(string(shipped), "\n")
	text = strings.Join(lines[:min(len(lines), testenv.Count(2_500, 10_000))], "")
	file = filepath.Join(t.TempDir(), "statement.csv")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return text, file
}

// The whole program, twice on one folder, compared with a bank that fits on a
// page.
func TestShippedStatementTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, first, stderr := bank(t, "", "-dir", dir, "-rejected", "-1")
	require.Zero(t, code, stderr)
	require.Empty(t, stderr, "no progress bar where there is no terminal")
	require.Contains(t, first, "Opening a new bank in")
	require.Regexp(t, `Took .*: \d+ lines a second, 99 of 100 within`, first)
	simulate(t, string(shipped)).check(t, first)

	code, second, stderr := bank(t, "", "-dir", dir, "-rejected", "-1")
	require.Zero(t, code, stderr)
	require.Contains(t, second, "Continuing with the bank in")
	require.Regexp(t, `\d+ lines had been dealt with in an earlier run`, second)
	require.Equal(t, results(first), results(second))
}

// A bank that is killed again and again comes to the same result as one that
// is left in peace.
func TestKilledHalfWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, file := beginning(t)
	for _, stop := range []string{"200", "1000", "2100"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childFile+"="+file, childStop+"="+stop)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line := ""
		for in := bufio.NewScanner(out); in.Scan(); {
			if line = in.Text(); line == "half-way" {
				break
			}
		}
		require.NoError(t, cmd.Process.Kill()) // SIGKILL
		_ = cmd.Wait()                         // it was killed
		require.Equal(t, "half-way", line, "the child ended by itself")
	}
	code, after, stderr := bank(t, "", "-dir", dir, "-file", file, "-rejected", "-1")
	require.Zero(t, code, stderr)
	require.Contains(t, after, "Continuing with the bank in")
	simulate(t, text).check(t, after)

	_, undisturbed, _ := bank(t, "", "-file", file, "-rejected", "-1")
	require.Equal(t, results(undisturbed), results(after))
}

// child books until so many lines are settled, says so and hangs, with the
// lines around it in every state.
func child(dir, file, stop string) {
	var most int
	_, _ = fmt.Sscan(stop, &most)
	var once sync.Once
	cfg := config{dir: dir, file: file, settled: func(n int) {
		if n >= most {
			once.Do(func() { fmt.Println("half-way") })
			select {}
		}
	}}
	os.Exit(cfg.run(context.Background(), nil, io.Discard, os.Stderr))
}

// Ctrl-C finishes what is under way; the next run goes on.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	text, file := beginning(t)
	cfg := config{dir: dir, file: file, rejected: -1, settled: func(n int) {
		if n == 1000 {
			cancel()
		}
	}}
	require.Equal(t, exitInterrupted, cfg.run(ctx, nil, &out, &errs), errs.String())
	require.Contains(t, out.String(), "Interrupted. Run it again with -dir "+dir+" to go on.")

	code, after, stderr := bank(t, "", "-dir", dir, "-file", file, "-rejected", "-1")
	require.Zero(t, code, stderr)
	simulate(t, text).check(t, after)
}

// Two statements are two, although a line may be in both.
func TestStandardInputAndAnotherStatement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	january := "\ufeffopen,A,,Ann,\r\ndeposit,A,10.00,,\r\n"
	code, out, stderr := bank(t, january, "-dir", dir, "-file", "-")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "1 accounts, 0 of them closed, hold 10.00.")

	february := filepath.Join(dir, "february.csv")
	require.NoError(t, os.WriteFile(february, []byte("open,A,,Ann,\ndeposit,A,10.00,,\ntransfer,A,5.00,B,\nnonsense"), 0o600))
	for range 2 {
		code, out, stderr = bank(t, "", "-dir", dir, "-file", february)
		require.Zero(t, code, stderr)
		require.Contains(t, out, "hold 20.00.")
		require.Contains(t, out, "line      1: account A is open already")
		require.Contains(t, out, "line      3: account B is not open; 5.00 went back to account A")
		require.Contains(t, out, "line      4: has 1 fields, want 5")
		require.Contains(t, out, "4 lines: 1 booked, 3 rejected (of these 1 transfers whose money went back).")
	}
}

func TestEmptyStatement(t *testing.T) {
	t.Parallel()
	code, out, stderr := bank(t, "", "-file", "-")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "0 lines: 0 booked, 0 rejected")
}

func TestMistakesInPlainWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	occupied := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(occupied, nil, 0o600))
	damaged := filepath.Join(dir, "damaged")
	require.NoError(t, os.Mkdir(damaged, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "bank.db"), bytes.Repeat([]byte("no journal "), 1000), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"Help":         {[]string{"-h"}, exitDone, "folder of bank.db"},
		"UnknownFlag":  {[]string{"-fiel", "x"}, exitUsage, "flag provided but not defined: -fiel"},
		"Argument":     {[]string{"x.csv"}, exitUsage, `bank takes no arguments, only flags, but there is "x.csv"`},
		"NoSuchFile":   {[]string{"-file", filepath.Join(dir, "none")}, exitFailed, "none: no such file or directory"},
		"Folder":       {[]string{"-file", dir}, exitFailed, "is a folder, not a statement"},
		"FileAsFolder": {[]string{"-dir", occupied}, exitFailed, "not a directory"},
		"Damaged":      {[]string{"-dir", damaged}, exitFailed, "bank.db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := bank(t, "", c.args...)
			require.Equal(t, c.code, code)
			require.Contains(t, stderr, c.want)
		})
	}
}

// The same statement through a repository, without actors and without a disk.
func TestRepositoryInsteadOfActors(t *testing.T) {
	t.Parallel()
	j, err := memory.Open(nil)
	require.NoError(t, err)
	accounts, err := aggregate.NewRepository(j, account.Spec, nil)
	require.NoError(t, err)
	source, err := statement.FromBytes(shipped)
	require.NoError(t, err)
	var out bytes.Buffer
	interrupted, err := config{rejected: -1}.bookInto(t.Context(), accounts, source, &out, io.Discard)
	require.NoError(t, err)
	require.False(t, interrupted)
	simulate(t, string(shipped)).check(t, out.String())
	require.NoError(t, j.Close())
}

// The shipped statement is what the generator writes.
func TestShippedStatementIsCurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "statement.csv")
	out, err := exec.Command("go", "run", "./sample", "-o", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, shipped), "run go generate in examples/bank")
	require.Equal(t, 10_000, bytes.Count(shipped, []byte("\n")))
}

// simulation is the bank on a page: one line after the other, in two maps.
type simulation struct {
	balances map[string]int64
	closed   map[string]bool
	rejected []int
	settled  int
	returned int
}

// simulate books text. It shares nothing with the program: it reads CSV and
// amounts in its own way.
func simulate(t *testing.T, text string) *simulation {
	t.Helper()
	s := &simulation{balances: map[string]int64{}, closed: map[string]bool{}}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if i == 0 && strings.HasPrefix(line, "action,") {
			continue
		}
		s.settled++
		if !s.book(line) {
			s.rejected = append(s.rejected, i+1)
		}
	}
	return s
}

var (
	wellFormed = regexp.MustCompile(`^\d+(\.\d\d?)?$`)
	wellNamed  = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
)

func (s *simulation) book(line string) bool {
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil || len(fields) != 5 || !utf8.ValidString(line) || !wellNamed.MatchString(fields[1]) {
		return false
	}
	action, id, other := fields[0], fields[1], fields[3]
	_, exists := s.balances[id]
	alive := exists && !s.closed[id]
	var cents int64
	if action == "deposit" || action == "withdraw" || action == "transfer" {
		if !wellFormed.MatchString(fields[2]) || !alive {
			return false
		}
		var units float64
		_, _ = fmt.Sscan(fields[2], &units)
		cents = int64(units*100 + 0.5)
		if cents == 0 {
			return false
		}
	}
	switch action {
	case "open":
		if exists || other == "" {
			return false
		}
		s.balances[id] = 0
	case "deposit":
		s.balances[id] += cents
	case "withdraw":
		if s.balances[id] < cents {
			return false
		}
		s.balances[id] -= cents
	case "transfer":
		if !wellNamed.MatchString(other) || other == id || s.balances[id] < cents {
			return false
		}
		if _, there := s.balances[other]; !there || s.closed[other] {
			s.returned++
			return false
		}
		s.balances[id] -= cents
		s.balances[other] += cents
	case "close":
		if !exists || s.balances[id] != 0 {
			return s.closed[id]
		}
		s.closed[id] = true
	default:
		return false
	}
	return true
}

// check compares with what the program printed.
func (s *simulation) check(t *testing.T, stdout string) {
	t.Helper()
	sum := int64(0)
	var ids []string
	for id, cents := range s.balances {
		sum += cents
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return int(s.balances[b] - s.balances[a]) })
	for _, id := range ids[:min(10, len(ids))] {
		require.Regexp(t, fmt.Sprintf(`(?m)^  %s +%s  `, id, regexp.QuoteMeta(fmt.Sprintf("%d.%02d", s.balances[id]/100, s.balances[id]%100))), stdout)
	}
	require.Contains(t, stdout, fmt.Sprintf("%d accounts, %d of them closed, hold %d.%02d.", len(s.balances), len(s.closed), sum/100, sum%100))
	require.Contains(t, stdout, fmt.Sprintf("%d lines: %d booked, %d rejected (of these %d transfers whose money went back).",
		s.settled, s.settled-len(s.rejected), len(s.rejected), s.returned))
	var got []int
	for _, m := range regexp.MustCompile(`(?m)^  line +(\d+): `).FindAllStringSubmatch(stdout, -1) {
		var n int
		_, _ = fmt.Sscan(m[1], &n)
		got = append(got, n)
	}
	require.Equal(t, s.rejected, got, "rejected lines")
}
