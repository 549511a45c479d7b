// Package bustest is the suite that every transport of package bus passes: one
// named subtest for each promise, chosen by the transport's [bus.Features].
package bustest
