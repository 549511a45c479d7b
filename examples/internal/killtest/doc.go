// Package killtest runs the services of an example, each in a process of its own,
// over every bus, and kills them at chosen steps: before and behind a commit,
// before and behind publishing, behind receiving, before acknowledging. Of that
// the example knows nothing: it is given a journal and a bus that count the steps.
package killtest
