#!/usr/bin/env bash
# proto.sh FILE...: write the Go code of .proto files beside them, with the plugins pinned in tools/go.mod. Without protoc it says so and
# leaves the code as it is; setup.sh installs it.
set -euo pipefail
if ! command -v protoc >/dev/null; then
  echo "proto: protoc is not installed: $* left as it is" >&2
  exit 0
fi
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(pwd)/
here=${here#"$root/"}
set -- "${@/#/$here}"
(cd "$root/tools" && GOBIN="$root/bin" ${GO:-go} install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
cd "$root" # a program may have one file of a name: it is the path from here
PATH="$root/bin:$PATH" protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative "$@"
# Which protoc it was makes no difference to the code, and would make one to git.
for f in "$@"; do
  sed -i.bak '/^\/\/ .*protoc  *(*v[0-9]/d' "${f%.proto}.pb.go" "${f%.proto}_grpc.pb.go"
  rm -f "${f%.proto}.pb.go.bak" "${f%.proto}_grpc.pb.go.bak"
done
