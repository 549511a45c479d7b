// Package locktest is the suite that every [lock.Store] passes.
package locktest
