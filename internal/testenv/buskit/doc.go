// Package buskit is what tests of single transports do with a bus, beside the
// suite: messages that count, sources that outlive an absent broker, and a proxy
// that records.
package buskit
