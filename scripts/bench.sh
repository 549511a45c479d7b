#!/usr/bin/env bash
# bench.sh [REGEXP]: run the benchmarks, each beside its baseline, with nothing else running. The result is kept in
# bench/results/, as go test printed it, with date, commit and machine.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/results
services=$(scripts/services.sh up)
trap 'scripts/services.sh wipe' EXIT
eval "$services"
result=bench/results/$(date -u +%Y-%m-%d)-$(git rev-parse --short HEAD).txt
{
  echo "# make bench BENCH='${1:-.}', $(date -u +%Y-%m-%dT%H:%M:%SZ), commit $(git rev-parse HEAD)$(git diff --quiet || echo ' with changes')"
  echo "# $(${GO:-go} version), $(nproc) cores, $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo '?')"
  ${GO:-go} test -run '^$' -bench "${1:-.}" -benchtime 1x -timeout 60m ./bench
} | tee "$result"
