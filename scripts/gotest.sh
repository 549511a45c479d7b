#!/usr/bin/env bash
# gotest.sh ARGS...: go test ARGS, printing the output of what failed and one line per package. With TROUPE_NO_SKIP=1 a
# skipped test is a failure unless scripts/skips.txt names it.
set -uo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
report=$(mktemp)
trap 'rm -f "$report"' EXIT
$go build -o "$report" ./internal/testreport || exit 1

flags=()
[ "${TROUPE_NO_SKIP:-0}" = 1 ] && flags=(-no-skip scripts/skips.txt)
$go test -json "$@" | "$report" "${flags[@]}"
status=("${PIPESTATUS[@]}")
[ "${status[0]}" = 0 ] && [ "${status[1]}" = 0 ]
