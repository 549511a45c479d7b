// Package httpapi serves a [microsvc.Service] over HTTP, and is a client for it.
//
// [Serve] is a server of its own, with limits for hostile callers and a
// graceful end; [Handler] is what it serves, to be mounted in a server of
// yours. A command is POST /{command} with its input as JSON; GET /health, /livez
// and /readyz are for those who watch, and GET /openapi.json describes it.
//
// Failures are {"error": text, "code": …, "id": …}, or application/problem+json
// for who accepts that. A [Client] makes of them errors that [errors.Is] the
// framework's own.
//
// Who is trusted: the headers of the allow-list become the caller's session,
// so whoever reaches this port can say who they are. Put a proxy before it that
// sets those headers and drops a caller's own, or check callers yourself by
// [Options].Authenticate.
package httpapi
