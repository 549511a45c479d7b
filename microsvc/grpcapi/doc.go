// Package grpcapi serves a [microsvc.Service] over gRPC, and is a client for it.
//
// The service on the wire is sourced.microsvc.CommandService of the Rust
// framework, with its messages (package commandpb): a Rust client calls a Go
// service as it is, and [Client] a Rust service. [Serve] is a server of its own
// with grpc.health.v1, reflection and a graceful end; [Register] adds all that to
// a server of yours.
//
// A failure is a response with the status that HTTP would have, and a body
// {"error": text, "code": …, "id": …}; with [Options].StatusCodes it is a gRPC
// status instead, see [Code], for proxies and meshes that look at those. A
// [Client] understands both and makes of them errors that [errors.Is] the
// framework's own. What gRPC finds itself it answers itself: RESOURCE_EXHAUSTED
// for a message that is too large, INTERNAL for one that is none.
//
// Who is trusted: metadata of the allow-list becomes the caller's session, so
// whoever reaches this port can say who they are. Put a proxy before it that
// sets that metadata and drops a caller's own, or check callers yourself by
// [Options].Authenticate. The request's own session_variables are the caller's
// word, which no proxy can drop: they count only where neither metadata nor
// Authenticate says who calls. Set [Options].NoPayloadSession where a proxy sets
// nothing for callers that it does not know.
package grpcapi
