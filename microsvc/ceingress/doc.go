// Package ceingress takes CloudEvents over HTTP for a [microsvc.Service]: the
// receiving end of bus/knativebus.
//
// [Handler] makes an [http.Handler], to be mounted anywhere. It takes POST / and
// POST /cloudevent/{type} in the binary, structured and batched modes of
// CloudEvents 1.0, commands as well as events, and makes of each the message
// that was published: the triggers that knativebus.Manifests writes need nothing
// else. An event of a stranger works, too.
//
// The answer is 200 when the effect is durable, 503 with Retry-After for what may
// pass, 422 for what will not (and for what has no handler), 400 for what is no
// CloudEvent. docs/formats/knative.md has the rest, and that of a batch.
//
// A broker delivers at least once, and in no order unless its class says so. With
// bus.Inbox the effect of a message is exactly-once; with bus.Idempotent the
// handlers are trusted. Messages of one ordering key are handled one after the
// other within a batch, and not across requests.
//
// Who is trusted: whoever reaches this endpoint can send every command and event
// that the service handles, under any name and session: CloudEvents have no
// signature. Let nobody reach it but the broker (a NetworkPolicy, mTLS), or put a
// handler that checks the caller before it. [Options].Session is the allow-list
// of metadata that becomes the session, and [Options].EventsOnly keeps commands
// out.
package ceingress
