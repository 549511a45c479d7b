// Package layers holds the test that keeps imports pointing down.
//
// docs/architecture.md draws the layers; the table in this package is what is
// enforced. It has no code that ships.
package layers
