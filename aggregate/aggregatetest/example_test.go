package aggregatetest_test

import (
	"fmt"
	"testing"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/aggregate/aggregatetest"
)

// Given a history, when a command comes, then these events. In a test file t is
// the test's own.
func Example() {
	t := new(testing.T)

	aggregatetest.For(t, spec).
		Given(installed{ID: "1", Room: "kitchen"}).
		When(turnOn, input{ID: "1"}).
		Then(switched{On: true, At: aggregatetest.Now}).
		When(turnOn, input{ID: "1"}).
		ThenNothing().
		When(install, input{ID: "1", Text: "cellar"}).
		ThenError(aggregate.ErrRejected)
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}
