#!/usr/bin/env bash
# soak.sh: the tests at full counts. The result is kept in docs/soak/, with date, commit and machine.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/soak
result=docs/soak/$(date -u +%Y-%m-%d)-$(git rev-parse --short HEAD).txt
export TROUPE_SOAK=1
{
  echo "make soak, $(date -u +%Y-%m-%dT%H:%M:%SZ), commit $(git rev-parse HEAD)$(git diff --quiet || echo ' with changes')"
  echo "$(${GO:-go} version), $(nproc) cores, $(uname -sr)"
  echo
  scripts/test.sh -count=1 -timeout 170m "${@:-./...}" 2>&1
  echo "exit status $?"
} | tee "$result"
grep -q '^exit status 0$' "$result"
