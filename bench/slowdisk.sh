#!/usr/bin/env bash
# slowdisk.sh [REGEXP] [FLAGS]: the bolt benchmarks with 2 ms added to each fsync and fdatasync, by strace. Only those
# system calls are stopped (--seccomp-bpf), so that nothing else becomes slower.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v strace >/dev/null || { echo "slowdisk: strace is missing" >&2; exit 1; }
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
${GO:-go} test -c -o "$binary" ./bench
cd bench
regexp=${1:-'Commands/journal=bolt/aggregates=(64|1000)/'}
shift || true
strace -f --seccomp-bpf -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:delay_exit=2000 \
  "$binary" -test.run '^$' -test.bench "$regexp" -test.benchtime 1x "$@"
