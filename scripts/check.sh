#!/usr/bin/env bash
# check.sh: formatting, vet, and that generated code and sourced.lock are what the generator writes today.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v /testdata/))
if [ -n "$unformatted" ]; then
  echo "check: not gofmt-clean:" "$unformatted" >&2
  exit 1
fi
$go vet ./...

# Names and contents of all that sourced and protoc write, new files included.
generated() {
  git ls-files --cached --others --exclude-standard -- '*_sourced.go' '*_sourced_test.go' '*sourced.lock' '*.pb.go' |
    while read -r f; do [ ! -f "$f" ] || cksum "$f"; done
}
before=$(generated)
$go generate ./...
if [ "$(generated)" != "$before" ]; then
  echo "check: generated code or a sourced.lock is out of date: run make generate and commit" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
