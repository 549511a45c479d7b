// Package membus is a message bus in memory: for one process, for tests and for
// development. Nothing of it survives the process.
//
// [New] makes a bus with a broker of its own; services that talk to each other
// share a [Broker]. Events are retained, so that a group which subscribes later
// gets them too; messages of one ordering key are kept in order, also when they
// are tried again.
package membus
