package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const passing = `{"Action":"output","Package":"github.com/x/y/a","Test":"TestOne","Output":"noise\n"}
{"Action":"pass","Package":"github.com/x/y/a","Test":"TestOne"}
{"Action":"output","Package":"github.com/x/y/a","Test":"TestTwo","Output":"    two_test.go:1: needs root\n"}
{"Action":"output","Package":"github.com/x/y/a","Test":"TestTwo","Output":"--- SKIP: TestTwo\n"}
{"Action":"skip","Package":"github.com/x/y/a","Test":"TestTwo"}
{"Action":"pass","Package":"github.com/x/y/a","Elapsed":1.5}
`

func sum(t *testing.T, in string, allowed []string, noSkip bool) (string, bool) {
	t.Helper()
	var out strings.Builder
	r := report{out: &out, output: map[string]*strings.Builder{}, count: map[string]int{}}
	require.NoError(t, r.read(strings.NewReader(in)))
	ok := r.sumUp(allowed, noSkip)
	return out.String(), ok
}

func TestSkipsFailUnlessNamed(t *testing.T) {
	t.Parallel()
	out, ok := sum(t, passing, nil, false)
	require.True(t, ok)
	require.Equal(t, "ok   github.com/x/y/a 1.5s\nskip a TestTwo: two_test.go:1: needs root\n1 passed, 0 failed, 1 skipped\n", out)
	_, ok = sum(t, passing, nil, true)
	require.False(t, ok)
	_, ok = sum(t, passing, names("# table\na TestTwo # no root there\n"), true)
	require.True(t, ok)
}

func TestTheTraceOfACrashIsShown(t *testing.T) {
	t.Parallel()
	out, ok := sum(t, `{"Action":"output","Package":"github.com/x/y/a","Test":"TestOne","Output":"fatal error: all goroutines\n"}
{"Action":"output","Package":"github.com/x/y/ab","Test":"TestTwo","Output":"runs on\n"}
{"Action":"output","Package":"github.com/x/y/a","Output":"FAIL a\n"}
{"Action":"fail","Package":"github.com/x/y/a","Elapsed":1.5}
`, nil, false)
	require.False(t, ok)
	require.Equal(t, "github.com/x/y/a TestOne did not end:\nfatal error: all goroutines\nFAIL a\n"+
		"FAIL github.com/x/y/a 1.5s\n0 passed, 1 failed, 0 skipped\n", out)
}

func TestFailuresShowTheirOutput(t *testing.T) {
	t.Parallel()
	out, ok := sum(t, strings.Replace(passing, `"pass","Package":"github.com/x/y/a","Test"`, `"fail","Package":"github.com/x/y/a","Test"`, 1), nil, false)
	require.False(t, ok)
	require.Contains(t, out, "noise\n")
	out, ok = sum(t, "not json\n"+`{"Action":"build-fail"}`+"\n", nil, false)
	require.False(t, ok)
	require.Contains(t, out, "not json\n")
}
