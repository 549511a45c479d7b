#!/usr/bin/env bash
# check.sh: formatting, vet, and that generated code is what the generator writes today.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v /testdata/))
if [ -n "$unformatted" ]; then
  echo "check: not gofmt-clean:" "$unformatted" >&2
  exit 1
fi
$go vet ./...

work=$(git ls-files '*_sourced.go' '*_sourced_test.go' | xargs -r cat | cksum)
$go generate ./...
if [ "$(git ls-files '*_sourced.go' '*_sourced_test.go' | xargs -r cat | cksum)" != "$work" ]; then
  echo "check: generated code is out of date: run make generate and commit" >&2
  git --no-pager diff --stat >&2
  exit 1
fi
