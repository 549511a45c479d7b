// Package commandpb has the messages of sourced.microsvc.CommandService, written
// by protoc from command.proto. Package grpcapi serves and calls it; use this one
// for a bare gRPC client.
package commandpb

//go:generate ../../../scripts/proto.sh command.proto
