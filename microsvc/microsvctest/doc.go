// Package microsvctest holds what every face of a service promises: the same call
// has the same status, answer and effect, and over a bus the same settlement.
//
// There is one table of calls. [Run] has it asked through a [Face]: a direct call,
// HTTP, gRPC, each with its client. [RunBus] sends it over a bus. [RunClient] is for
// faces whose callers get errors. A new face is one function that makes a call and
// tells what came back.
package microsvctest
