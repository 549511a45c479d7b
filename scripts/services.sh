#!/usr/bin/env bash
# services.sh: the servers that the tests talk to, real ones, without docker or systemd, on loopback.
#
#   services.sh up      [NAME...]   install what is missing, start what is down, wait until ready, print the environment
#   services.sh env     [NAME...]   export lines for the shell:  eval "$(scripts/services.sh env)"
#   services.sh down    [NAME...]   stop by pid; data is kept
#   services.sh status  [NAME...]   a line each; exit 3 when one is not ready
#   services.sh wipe    [NAME...]   down, then delete data and logs
#   services.sh log | pid | kill | pause | resume NAME      kill is kill -9
#
# NAME: postgres (default: all). A service whose variable is set already (TROUPE_POSTGRES_URL) is somebody else's: `up`
# leaves it alone and the tests use it.
#
# Settings: SERVICES_DIR   pids, logs, data    (default: /tmp/troupe-services-<user>-<checkout>)
#           SERVICES_PORT  first port to try   (default: 21000; the first free one is taken and remembered)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
all="postgres"
dir=${SERVICES_DIR:-/tmp/troupe-services-$(id -un)-$(cksum <<<"$root" | cut -d' ' -f1)}
patience=60 # seconds for a service to be ready

say() { printf 'services: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- processes. A pid file holds "PID STARTTIME", so that a recycled pid is never taken for ours.

started() { # field 22 of /proc/PID/stat; the command's name before it may hold spaces
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) }
  set -- $stat
  [ "$1" != Z ] && echo "${20}"
}
pid_of() {
  local pid start
  [ -s "$dir/$1/pid" ] && read -r pid start <"$dir/$1/pid" && [ "$(started "$pid")" = "$start" ] && echo "$pid"
}
paused() { local stat; stat=$(cat "/proc/$1/stat"); stat=${stat##*) }; [ "${stat%% *}" = T ]; }
launch() { # launch NAME CMD...: in a session of its own, its output to the log
  local name=$1
  shift
  (cd "$dir/$name" && exec setsid "$@") >>"$dir/$name/log" 2>&1 </dev/null 9>&- &
  echo "$! $(started $! || echo gone)" >"$dir/$name/pid"
}
stop() { # stop NAME SIGNAL: and kill -9 after 20 s
  local pid n=400
  pid=$(pid_of "$1") || return 0
  kill -CONT "$pid"
  kill "-$2" "$pid"
  while pid_of "$1" >/dev/null && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done
  ! pid_of "$1" >/dev/null || kill -9 "$pid"
  rm -f "$dir/$1/pid"
}
port_of() { # the remembered port, else the first free one
  local file=$dir/$1/port port=${SERVICES_PORT:-21000}
  if [ ! -s "$file" ]; then
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port" >"$file"
  fi
  cat "$file"
}

# --- installing

install_packages() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "not installed: $*"
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; fi # packages start no daemons
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y -qq --no-install-recommends "$@") rc=0
  say "installing $*"
  "${install[@]}" >"$dir/apt.log" 2>&1 || { apt-get -o Acquire::Retries=3 update -qq >>"$dir/apt.log" 2>&1 && "${install[@]}" >>"$dir/apt.log" 2>&1; } || rc=$?
  [ -z "$made" ] || rm -f "$policy"
  [ "$rc" = 0 ] || { tail -n 25 "$dir/apt.log" >&2; die "could not install $*"; }
}

# --- PostgreSQL

variable_postgres=TROUPE_POSTGRES_URL
pgbin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
url_postgres() { echo "postgres://postgres@127.0.0.1:$(port_of postgres)/troupe?sslmode=disable"; }
install_postgres() { [ -x "$(pgbin)/postgres" ] || install_packages postgresql; }
start_postgres() {
  local d=$dir/postgres as=() bin
  bin=$(pgbin)
  if [ "$(id -u)" = 0 ]; then # the server refuses to run as root
    as=(setpriv --reuid postgres --regid "$(id -g postgres)" --init-groups --)
    chown -R postgres: "$d"
  fi
  [ -s "$d/data/PG_VERSION" ] ||
    (cd "$d" && rm -rf data && "${as[@]}" "$bin/initdb" -D "$d/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync) >>"$d/log" 2>&1
  # After a kill -9 the server's children hold the data folder for a moment.
  local p n=200
  for p in /proc/[0-9]*; do
    while [ "$(readlink "$p/cwd" 2>/dev/null)" = "$d/data" ] && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done
  done
  launch postgres "${as[@]}" "$bin/postgres" -D "$d/data" -p "$(port_of postgres)" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$d" -c max_connections=300 -c max_prepared_transactions=16
}
ready_postgres() { "$(pgbin)/pg_isready" -q -t 2 -U postgres -h 127.0.0.1 -p "$(port_of postgres)"; }
set_up_postgres() {
  local psql=("$(pgbin)/psql" -X -q -h 127.0.0.1 -p "$(port_of postgres)" -U postgres -At)
  [ -n "$("${psql[@]}" -c "select 1 from pg_database where datname = 'troupe'")" ] || "${psql[@]}" -c 'create database troupe'
}
stop_postgres() { stop postgres INT; } # "fast": it does not wait for clients

# --- verbs

foreign() { # whether the variable of service NAME is set already
  local variable=variable_$1
  variable=${!variable}
  [ -n "${!variable:-}" ]
}

up() {
  local name deadline
  for name in "$@"; do
    if foreign "$name"; then say "$name: the server that is set already"; continue; fi
    mkdir -p "$dir/$name"
    "install_$name"
    if pid_of "$name" >/dev/null; then
      kill -CONT "$(pid_of "$name")"
    else
      "start_$name"
    fi
    deadline=$((SECONDS + patience))
    until "ready_$name"; do
      if ! pid_of "$name" >/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
        tail -n 25 "$dir/$name/log" >&2
        die "$name did not get ready; its log is $dir/$name/log"
      fi
      sleep 0.1
    done
    "set_up_$name"
    say "$name is ready on port $(port_of "$name")"
  done
  env_lines "$@"
}
env_lines() {
  local name variable
  for name in "$@"; do
    variable=variable_$name
    foreign "$name" || echo "export ${!variable}='$("url_$name")'"
  done
}
down() { local name; for name in "$@"; do "stop_$name"; done; }
status() {
  local name rc=0 state
  for name in "$@"; do
    if ! pid_of "$name" >/dev/null; then state=down
    elif paused "$(pid_of "$name")"; then state=paused
    elif "ready_$name"; then state="ready on port $(port_of "$name")"
    else state=starting; fi
    [[ $state == ready* ]] || rc=3
    echo "$name: $state"
  done
  return "$rc"
}

main() { # one function: bash has read all of it before it runs any of it
  local verb=${1:-help} name
  [ $# -eq 0 ] || shift
  for name in "$@"; do [[ " $all " == *" $name "* ]] || die "no service $name; there are: $all"; done
  # shellcheck disable=SC2086
  [ $# -gt 0 ] || set -- $all
  case $verb in
    up | down | wipe)
      mkdir -p "$dir"
      chmod 755 "$dir"
      exec 9>"$dir/.lock"
      flock -w 300 9 || die "another services.sh holds $dir/.lock"
      ;;
  esac
  case $verb in
    up) up "$@" ;;
    env) env_lines "$@" ;;
    down) down "$@" ;;
    status) status "$@" ;;
    wipe) down "$@"; for name in "$@"; do rm -rf "${dir:?}/$name"; done ;;
    log) cat "$dir/$1/log" ;;
    pid) pid_of "$1" || die "$1 is not running" ;;
    kill)
      name=$(pid_of "$1")
      kill -9 "$name"
      for _ in {1..200}; do [ -d "/proc/$name" ] || exit 0; sleep 0.05; done # it stays a zombie until it is reaped
      ;;
    pause) kill -STOP "$(pid_of "$1")" ;;
    resume) kill -CONT "$(pid_of "$1")" ;;
    *) sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p' >&2; exit 2 ;;
  esac
}
main "$@"
exit
