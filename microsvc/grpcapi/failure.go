package grpcapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi/commandpb"
)

// failure is the body of a failure, and what a [Client] reads.
type failure struct {
	Error string           `json:"error"`
	Code  aggregate.Code   `json:"code,omitempty"`
	Also  []aggregate.Code `json:"also,omitempty"`
	ID    string           `json:"id,omitempty"`
}

// failure answers with a problem, in the one form or the other.
func (a *API) failure(ctx context.Context, p *microsvc.Problem) (*commandpb.GrpcResponse, error) {
	if p.RetryAfter > 0 {
		seconds := int64((p.RetryAfter + time.Second - 1) / time.Second)
		_ = grpc.SetTrailer(ctx, metadata.Pairs(KeyRetryAfter, strconv.FormatInt(seconds, 10))) // as SetHeader
	}
	if a.opts.StatusCodes {
		return nil, statusOf(p).Err()
	}
	body, _ := json.Marshal(failure{p.Message, p.Code, p.Also, p.ID}) // of strings there is no error
	return &commandpb.GrpcResponse{Status: uint32(p.Status), Body: string(body)}, nil
}

// domain marks the details of a status as ours.
const domain = "sourced.microsvc"

// statusOf makes a gRPC status with all that a problem tells.
func statusOf(p *microsvc.Problem) *status.Status {
	s := status.New(Code(p), strings.ToValidUTF8(p.Message, "\uFFFD"))
	info := &errdetails.ErrorInfo{
		Reason: string(p.Code), Domain: domain,
		Metadata: map[string]string{"status": strconv.Itoa(p.Status), "id": p.ID},
	}
	if len(p.Also) > 0 {
		also := make([]string, len(p.Also))
		for i, code := range p.Also {
			also[i] = string(code)
		}
		info.Metadata["also"] = strings.Join(also, ",")
	}
	if detailed, err := s.WithDetails(info); err == nil {
		return detailed
	}
	return s // of texts that are not UTF-8, which ours are
}

// problemOfStatus reads statusOf's, and nil of a status that is not ours.
func problemOfStatus(s *status.Status) *microsvc.Problem {
	for _, detail := range s.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != domain {
			continue
		}
		md := info.GetMetadata()
		p := &microsvc.Problem{Code: aggregate.Code(info.GetReason()), Message: s.Message(), ID: md["id"]}
		p.Status, _ = strconv.Atoi(md["status"])
		if p.Status < http.StatusBadRequest {
			p.Status = http.StatusInternalServerError
		}
		if also := md["also"]; also != "" {
			for code := range strings.SplitSeq(also, ",") {
				p.Also = append(p.Also, aggregate.Code(code))
			}
		}
		return p
	}
	return nil
}

// foreignStatus is the problem of a status that something before the service
// made, or gRPC itself. ok is false if it does not tell whether the command ran.
func foreignStatus(s *status.Status) (p *microsvc.Problem, ok bool) {
	p = &microsvc.Problem{Message: s.Message()}
	switch s.Code() {
	case codes.InvalidArgument, codes.OutOfRange:
		p.Status, p.Code = http.StatusBadRequest, aggregate.CodeInvalid
	case codes.Unauthenticated, codes.PermissionDenied:
		p.Status, p.Code = http.StatusUnauthorized, aggregate.CodeUnauthorized
	case codes.NotFound:
		p.Status, p.Code = http.StatusNotFound, aggregate.CodeNotFound
	case codes.Unimplemented: // there is no CommandService
		p.Status, p.Code = http.StatusNotFound, microsvc.CodeUnknownCommand
	case codes.AlreadyExists, codes.Aborted:
		p.Status, p.Code = http.StatusConflict, aggregate.CodeConflict
	case codes.FailedPrecondition:
		p.Status, p.Code = http.StatusUnprocessableEntity, aggregate.CodeRejected
	case codes.ResourceExhausted:
		p.Status, p.Code = http.StatusTooManyRequests, aggregate.CodeOverloaded
		if strings.Contains(s.Message(), "larger than max") { // what grpc-go says of a request; it has no code of its own
			p.Status, p.Code = http.StatusRequestEntityTooLarge, aggregate.CodeInvalid
		}
	default:
		return nil, false
	}
	return p, true
}

// problemOfResponse reads the failure of a service, and of a Rust one.
func problemOfResponse(resp *commandpb.GrpcResponse) *microsvc.Problem {
	var f failure
	_ = json.Unmarshal([]byte(resp.GetBody()), &f) // what cannot be read tells nothing
	p := &microsvc.Problem{Status: int(resp.GetStatus()), Code: f.Code, Also: f.Also, Message: f.Error, ID: f.ID}
	if p.Code == "" {
		p.Code = foreignCode(p.Status, f.Error)
		if p.Code == microsvc.CodeDecode {
			p.Also = []aggregate.Code{aggregate.CodeInvalid} // as a DecodeError
		}
	}
	if p.Message == "" {
		p.Message = "answered with status " + strconv.Itoa(p.Status)
	}
	return p
}

// texts are how the Rust framework begins those that share a status with others
// (1.5.0, src/microsvc/error.rs).
var texts = []struct {
	status int
	prefix string
	code   aggregate.Code
}{
	{http.StatusNotFound, "unknown command: ", microsvc.CodeUnknownCommand},
	{http.StatusBadRequest, "invalid JSON input: ", microsvc.CodeDecode},
	{http.StatusBadRequest, "decode failed: ", microsvc.CodeDecode},
	{http.StatusBadRequest, "guard rejected command: ", microsvc.CodeGuard},
}

// foreignCode is the code of a status, and of the text of a Rust service.
func foreignCode(status int, text string) aggregate.Code {
	for _, t := range texts {
		if t.status == status && strings.HasPrefix(text, t.prefix) {
			return t.code
		}
	}
	switch status {
	case http.StatusInternalServerError: // there is no proxy's here: it says so by a code of gRPC
		return aggregate.CodeInternal
	case http.StatusServiceUnavailable:
		return aggregate.CodeUnavailable
	}
	return microsvc.CodeOf(status)
}
