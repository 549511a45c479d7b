package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of each pair of guests at most one gets the seats, and only one who pays.
func TestProgram(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-guests", "8", "-pay-within", "2s"}, &out, &log), log.String())
	told := map[string]string{}
	for line := range strings.Lines(out.String()) {
		guest, what, _ := strings.Cut(line, ": ")
		require.NotContains(t, told, guest)
		told[guest] = what
	}
	require.Len(t, told, 8)
	for pair := range 4 {
		confirmed := 0
		for n := range 2 {
			if strings.Contains(told[fmt.Sprint("guest ", 2*pair+n)], " confirmed ") {
				confirmed++
			}
		}
		require.LessOrEqual(t, confirmed, (pair+1)%2, out.String())
	}
	require.Contains(t, out.String(), " rejected not paid in time\n")
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		`-service "bar": want one of boxoffice, seating, checkout, guests`: {"-service", "bar"},
		`needs a -bus that other processes reach, not "memory"`:            {"-service", "seating"},
	} {
		var out, log bytes.Buffer
		require.ErrorContains(t, run(t.Context(), args, &out, &log), says)
	}
}
