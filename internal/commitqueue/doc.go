// Package commitqueue holds what the committer of a journal needs whatever it
// commits to: a bounded queue with credit, and the memory of whose
// predecessors were refused.
package commitqueue
