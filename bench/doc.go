// Package bench measures the framework beside bare baselines.
//
// It holds benchmarks only: go test -bench . ./bench. Each one drives the
// framework and a baseline in turns, in the same run, by the same number of
// closed-loop callers, and reports medians over the rounds; what counts is the
// ratio, which survives a change of machine. See README.md for the workload,
// the metrics and the latest results.
package bench
