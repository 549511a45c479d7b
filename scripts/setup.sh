#!/usr/bin/env bash
# setup.sh: install what the tests need beyond Go and the services. As root on Debian it installs; elsewhere it says what is missing, and
# the tests that need it skip by name.
#   strace       injects fsync errors and delays
#   e2fsprogs, mount   power cuts on a throw-away ext4 file system (root only)
#   protobuf-compiler    writes the code of .proto files again
set -euo pipefail

missing=()
command -v strace >/dev/null || missing+=(strace)
command -v mkfs.ext4 >/dev/null || missing+=(e2fsprogs)
command -v mount >/dev/null || missing+=(mount)
command -v protoc >/dev/null || missing+=(protobuf-compiler)
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y -qq --no-install-recommends "${missing[@]}")
  "${install[@]}" >/dev/null 2>&1 || { apt-get -o Acquire::Retries=3 update -qq >/dev/null && "${install[@]}" >/dev/null; }
else
  echo "setup: not installed: ${missing[*]}; tests that need them will skip" >&2
fi
