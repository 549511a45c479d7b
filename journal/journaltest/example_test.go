package journaltest_test

import (
	"fmt"
	"strings"

	"github.com/troupe-go/troupe/journal/journaltest"
)

// The names of the cases are the promises of a journal.
func Example() {
	for _, c := range journaltest.Cases() {
		if strings.HasPrefix(c.Name, "ReadAll") {
			fmt.Println(c.Name)
		}
	}
	// Output:
	// ReadAllOfEmptyJournal
	// ReadAllKeepsEachStreamsOrder
	// ReadAllNeverSkips
	// ReadAllLimit
	// ReadAllResumesByPosition
}
