#!/usr/bin/env bash
# test.sh ARGS...: start the services, run gotest.sh ARGS with their variables set, stop what was started. No test may
# skip but those that scripts/skips.txt names.
set -euo pipefail
cd "$(dirname "$0")/.."
services=$(scripts/services.sh up)
trap 'scripts/services.sh wipe' EXIT
eval "$services"
TROUPE_NO_SKIP=1 scripts/gotest.sh "$@"
