package main

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// told is what the program printed, in order, without the names of books.
func told(t *testing.T, args ...string) []string {
	t.Helper()
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), args, &out, &log), log.String())
	text := regexp.MustCompile(`book-[A-Z2-7]+`).ReplaceAllString(out.String(), "book")
	return slices.Sorted(slices.Values(strings.Split(strings.TrimRight(text, "\n"), "\n")))
}

func TestProgram(t *testing.T) {
	t.Parallel()
	want := []string{
		"order.cancelled  1 × book for 1000.01 the card's limit",
		"order.cancelled  9 × book for 180.00 sold out",
		"order.confirmed  2 × book for 40.00 ",
	}
	dir := t.TempDir()
	for _, style := range []string{"orchestration", "choreography"} {
		require.Equal(t, want, told(t, "-style", style))
		for range 2 { // on what the first run left
			require.Equal(t, want, told(t, "-style", style, "-journal", "bolt:"+dir+"/"+style+"/"))
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"-style", "solo"}, `-style "solo"`},
		{[]string{"-service", "shipping"}, `-service "shipping": want one of orders, payments, stock, saga, customer`},
		{[]string{"-service", "saga", "-style", "choreography"}, `-service "saga": want one of orders, payments, stock, customer`},
		{[]string{"-service", "stock"}, `needs a -bus that other processes reach, not "memory"`},
		{[]string{"-journal", "paper"}, `-journal "paper"`},
		{[]string{"-bus", "pigeon"}, `-bus "pigeon"`},
	} {
		var out, log bytes.Buffer
		require.ErrorContains(t, run(context.Background(), tt.args, &out, &log), tt.says)
		require.Empty(t, out.String())
	}
}
