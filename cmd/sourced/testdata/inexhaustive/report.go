// Package inexhaustive has a switch over an aggregate's events that misses one.
package inexhaustive

import (
	"github.com/troupe-go/troupe/cmd/sourced/testdata/written/former"
)

// Describe misses that a box may be weighed.
func Describe(e former.BoxEvent) string {
	switch e := e.(type) {
	case former.BoxLeft:
		return "left " + e.From
	case former.BoxCame:
		return "came to " + e.To
	}
	return "?"
}
