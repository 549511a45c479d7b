// Package testenv holds what crash and fault tests share: how many rounds a
// run makes, and child processes that a test can kill. Package crashdisk
// beside it has a disk whose power can be cut.
package testenv
