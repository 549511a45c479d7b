// Command testreport sums up the output of go test -json: the whole output of
// what failed, one line per package, what was skipped and why, and the totals.
//
//	go test -json ./... | testreport [-no-skip scripts/skips.txt]
//
// With -no-skip, a skipped test that the file does not name is a failure: a
// test that needs something must be given it, or stand in the table with its
// reason.
package main
