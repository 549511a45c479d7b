#!/usr/bin/env bash
# test.sh ARGS...: start the services, run gotest.sh -race ARGS with their variables set, stop what was started. No test
# may skip but those that scripts/skips.txt names.
#
# SQLite, translated to Go, is twenty times slower with the race detector and its pointer checks, which tell nothing about
# code that has its own locks and its own memory: these packages are compiled without.
set -euo pipefail
cd "$(dirname "$0")/.."
services=$(scripts/services.sh up)
trap 'scripts/services.sh wipe' EXIT
eval "$services"
TROUPE_NO_SKIP=1 scripts/gotest.sh -race -gcflags='modernc.org/...=-race=false -d=checkptr=0' "$@"
