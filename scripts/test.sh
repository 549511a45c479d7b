#!/usr/bin/env bash
# test.sh ARGS...: start the services, run gotest.sh -race ARGS with their variables set, stop what was started. No test
# may skip but those that scripts/skips.txt names.
#
# SQLite, translated to Go, is twenty times slower with the race detector and its pointer checks, which tell nothing about
# code that has its own locks and its own memory: these packages are compiled without. Not so modernc.org/sqlite itself, the
# driver around it: it uses sync.Map, whose generic code would then be linked without the detector for the whole program, and
# the detector would report races of whatever is published by a sync.Map, encoding/json's types among it.
set -euo pipefail
cd "$(dirname "$0")/.."
services=$(scripts/services.sh up)
trap 'scripts/services.sh wipe' EXIT
eval "$services"
TROUPE_NO_SKIP=1 scripts/gotest.sh -race -gcflags='modernc.org/...=-d=checkptr=0' \
  -gcflags='modernc.org/sqlite/lib=-race=false -d=checkptr=0' -gcflags='modernc.org/libc/...=-race=false -d=checkptr=0' \
  -gcflags='modernc.org/memory=-race=false -d=checkptr=0' "$@"
