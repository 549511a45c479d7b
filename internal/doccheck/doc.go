// Package doccheck holds the Go code of README.md and docs to what the packages are.
//
// A block of code is an excerpt of a file of this repository, or it compiles: as
// the declarations of a package, or as the statements of a function. What it uses
// and does not declare is in testdata/context.go, or a package, which it needs not
// import.
package doccheck
