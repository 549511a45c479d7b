// Package testenv holds what crash and fault tests share: how many rounds a
// run makes, child processes that a test can kill, a proxy that cuts and
// freezes connections, and PostgreSQL servers that a test can do anything to.
// Package crashdisk beside it has a disk whose power can be cut.
package testenv
