// Package readahead reads pages from a store one ahead of who uses them.
package readahead
