// Package compare measures the framework beside third-party code. It is a
// module of its own, so that the framework's go.mod names none of it.
package compare
