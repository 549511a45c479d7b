package microsvctest

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// TestTheGuideSaysWhatTheTableDoes: each row of docs/services.md, "What callers are
// answered", has cases, and its status and settlement are theirs; no case has a code that
// the guide does not name, but for the framework's own that are a 500.
func TestTheGuideSaysWhatTheTableDoes(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/services.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(guide), "## What callers are answered")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	settlements := map[string]bus.Outcome{"acknowledged": bus.Handled, "nobody listens": bus.Unhandled, "dead letter": dead, "tried again": again}
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		status, err := strconv.Atoi(strings.Trim(strings.Split(strings.TrimSpace(cells[min(1, len(cells)-1)]), " ")[0], ","))
		if len(cells) != 4 || err != nil {
			continue
		}
		rows++
		settlement, ok := settlements[strings.TrimSpace(cells[3])]
		require.True(t, ok, line)
		codes := []string{""}
		if status != 200 {
			codes = nil
			for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[2], -1) {
				codes = append(codes, code[1])
			}
		}
		require.NotEmpty(t, codes, line)
		for _, code := range codes {
			named[code] = true
			of := casesOf(code)
			require.NotEmpty(t, of, "no case for %q: %s", code, line)
			for _, c := range of {
				require.Equal(t, status, c.Status, "%s: %s", c.Name, line)
				require.Equal(t, settlement, c.Bus, "%s: %s", c.Name, line)
			}
		}
		retry := strings.Contains(cells[1], "Retry-After")
		require.Equal(t, (&Case{Status: status}).again(), retry, line)
	}
	require.Equal(t, 15, rows)
	for _, c := range cases {
		require.True(t, named[string(c.Code)] || c.Status == 500 && c.Text == masked && c.Bus == again, c.Name)
	}
}

// casesOf are the cases of a code that a bus takes, and whose settlement the handler
// did not choose.
func casesOf(code string) (of []Case) {
	for _, c := range cases {
		if string(c.Code) == code && len(c.Key) <= envelope.MaxMessageIDBytes && !strings.HasPrefix(c.Name, "marked ") {
			of = append(of, c)
		}
	}
	return of
}
