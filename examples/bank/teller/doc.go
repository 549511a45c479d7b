// Package teller books the lines of a statement.
//
// Lines that touch the same account are booked in the order of the statement,
// all others at the same time, so the result is that of booking one line after
// the other. A transfer is two commands of two accounts: withdraw, then
// deposit. If the second is refused, a third gives the money back.
//
// Every command has an id made from the statement, the line and the step. The
// bank books a command with an id once and remembers its reply, so a statement
// that was interrupted anywhere, by kill -9 too, is simply booked again.
package teller
