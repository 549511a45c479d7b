// Package microsvc is the service face of an application: the same handlers
// answer direct calls, HTTP (package httpapi), gRPC (package grpcapi) and a bus.
//
// A [Service] has commands and events. [Expose] makes a command of an
// aggregate's, [Handle] one of a function with a typed input, [On] and
// [OnEach] make handlers of events; each is a value that a file of its own can
// export, for [Service.Register]. A [Guard] looks at a call before its handler
// does, a [Middleware] is around both. A handler knows its call by its
// [Context]: the input, the [Session], the message.
//
// Whatever the transport, an error has the same [Status] and the same code, and
// a caller in another process gets a [*Problem] that [errors.Is] the error which
// the handler returned, if that is one of the framework's.
package microsvc
