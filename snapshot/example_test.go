package snapshot_test

import (
	"fmt"
	"reflect"

	"github.com/troupe-go/troupe/snapshot"
)

func ExamplePolicy() {
	every50 := snapshot.Policy{Every: 50}
	fmt.Println(every50.Due(149, 100), every50.Due(150, 100))
	never := snapshot.Policy{Every: -1, AtPassivation: -1}
	fmt.Println(never.Due(1_000_000, 0))
	// Output:
	// false true
	// false
}

func ExampleFingerprint() {
	type before struct{ Task string }
	type same struct{ Task string }
	type after struct{ Task []string }
	of := func(v any) uint64 { return snapshot.Fingerprint(reflect.TypeOf(v)) }
	fmt.Println(of(before{}) == of(same{}), of(before{}) == of(after{}))
	// Output: true false
}
