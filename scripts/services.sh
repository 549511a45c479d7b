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
# NAME: postgres rabbitmq nats kafka (default: all). A service whose variable is set already (TROUPE_POSTGRES_URL,
# TROUPE_RABBITMQ_URL, TROUPE_NATS_URL, TROUPE_KAFKA_BROKERS) is somebody else's: `up` leaves it alone and the tests use it.
#
# Settings: SERVICES_DIR    pids, logs, data         (default: /tmp/troupe-services-<user>-<checkout>)
#           SERVICES_CACHE  built binaries and jars  (default: ~/.cache/troupe-services)
#           SERVICES_PORT   first port to try        (default: 21000; the first free one is taken and remembered)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
all="postgres rabbitmq nats kafka"
dir=${SERVICES_DIR:-/tmp/troupe-services-$(id -un)-$(cksum <<<"$root" | cut -d' ' -f1)}
cache=${SERVICES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/troupe-services}
patience=90 # seconds for a service to be ready

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
  (cd "$dir/$name" && exec setsid "$@") >>"$dir/$name/log" 2>&1 </dev/null 9>&- 7>&- &
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
port_of() { # port_of NAME [USE]: the remembered port, else the first free one that no other checkout has remembered either
  local file=$dir/$1/port${2:+.$2} port=${SERVICES_PORT:-21000} taken=/tmp/troupe-ports-$(id -un)
  if [ ! -s "$file" ]; then
    (
      exec 8>"$taken.lock"
      flock -w 60 8 || die "another services.sh holds $taken.lock"
      mkdir -p "$taken"
      while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { [ -e "$taken/$port" ] && [ -e "$(cat "$taken/$port")" ]; }; do
        port=$((port + 1))
      done
      echo "$port" >"$file"
      echo "$file" >"$taken/$port"
    )
  fi
  cat "$file"
}
ask() { # ask PORT REQUEST PATTERN [BYTES]: whether the answer to REQUEST (a format of printf) begins like PATTERN
  local answer
  { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  # shellcheck disable=SC2059
  printf "$2" >&3 2>/dev/null || return 1
  answer=$(timeout 2 head -c "${4:-16}" <&3 | tr -d '\0' || true)
  exec 3>&-
  # shellcheck disable=SC2053
  [[ $answer == $3 ]]
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

# --- RabbitMQ

variable_rabbitmq=TROUPE_RABBITMQ_URL
url_rabbitmq() { echo "amqp://guest:guest@127.0.0.1:$(port_of rabbitmq)/"; }
install_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || install_packages rabbitmq-server; }
start_rabbitmq() {
  local d=$dir/rabbitmq as=() epmd
  mkdir -p "$d/data"
  printf '%s\n' "listeners.tcp.default = 127.0.0.1:$(port_of rabbitmq)" 'log.console = true' 'log.file = false' \
    'disk_free_limit.absolute = 50MB' 'vm_memory_high_watermark.absolute = 2GB' >"$d/rabbitmq.conf"
  echo '[].' >"$d/enabled_plugins"
  port_of rabbitmq dist >/dev/null
  port_of rabbitmq epmd >/dev/null
  if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid rabbitmq --regid "$(id -g rabbitmq)" --init-groups --)
    chown -R rabbitmq: "$d"
  fi
  # Erlang's name server would outlive the broker and hold a port of the whole machine: this one is a service of its own.
  if ! pid_of rabbitmq-epmd >/dev/null; then
    mkdir -p "$dir/rabbitmq-epmd"
    epmd=$(command -v epmd || ls /usr/lib/erlang/erts-*/bin/epmd | tail -n 1)
    launch rabbitmq-epmd "$epmd" -address 127.0.0.1 -port "$(port_of rabbitmq epmd)"
  fi
  # RUNNING_UNDER_SYSTEMD has the script replace itself by the Erlang machine: the pid is the broker's own.
  launch rabbitmq "${as[@]}" env -u NOTIFY_SOCKET HOME="$d" LANG=C.UTF-8 RUNNING_UNDER_SYSTEMD=true \
    ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$(port_of rabbitmq epmd)" RABBITMQ_DIST_PORT="$(port_of rabbitmq dist)" \
    RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$d/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$d/enabled_plugins" \
    RABBITMQ_NODENAME="troupe$(port_of rabbitmq)@localhost" RABBITMQ_MNESIA_BASE="$d/data" RABBITMQ_LOG_BASE="$d" \
    RABBITMQ_PID_FILE="$d/beam.pid" RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
    /usr/lib/rabbitmq/bin/rabbitmq-server
}
ready_rabbitmq() { (ask "$(port_of rabbitmq)" 'AMQP\0\0\011\001' $'\001*'); } # the broker's greeting
set_up_rabbitmq() { :; }
stop_rabbitmq() { stop rabbitmq TERM; stop rabbitmq-epmd TERM; }

# --- NATS, with JetStream

variable_nats=TROUPE_NATS_URL
url_nats() { echo "nats://127.0.0.1:$(port_of nats)"; }
install_nats() { # built from the module, which pins the version for the tests, too
  local stamp
  stamp=$(grep 'nats-io/nats-server/v2 ' "$root/go.mod") || die "go.mod does not name nats-server"
  [ -x "$cache/nats-server" ] && [ "$(cat "$cache/nats-server.stamp" 2>/dev/null)" = "$stamp" ] && return
  say "building nats-server"
  (cd "$root" && ${GO:-go} build -trimpath -buildvcs=false -o "$cache/nats-server" github.com/nats-io/nats-server/v2) >"$dir/nats/build.log" 2>&1 ||
    { tail -n 25 "$dir/nats/build.log" >&2; die "could not build nats-server"; }
  echo "$stamp" >"$cache/nats-server.stamp"
}
start_nats() {
  launch nats "$cache/nats-server" -a 127.0.0.1 -p "$(port_of nats)" -m "$(port_of nats monitor)" -js -sd "$dir/nats/data"
}
ready_nats() { (ask "$(port_of nats monitor)" 'GET /healthz HTTP/1.0\r\n\r\n' '*200 OK*'); }
set_up_nats() { :; }
stop_nats() { stop nats TERM; }

# --- Kafka: one node that is broker and controller

variable_kafka=TROUPE_KAFKA_BROKERS
url_kafka() { echo "127.0.0.1:$(port_of kafka)"; }
install_kafka() {
  local stamp
  stamp=$(cksum <"$root/scripts/kafka/pom.xml")
  [ "$(cat "$cache/kafka.stamp" 2>/dev/null)" = "$stamp" ] && return
  command -v java >/dev/null || install_packages openjdk-17-jre-headless
  command -v mvn >/dev/null || install_packages maven
  say "fetching Kafka"
  rm -rf "$cache/kafka" "$cache/kafka.stamp"
  mvn -B -q -f "$root/scripts/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/kafka" \
    >"$dir/kafka/mvn.log" 2>&1 || { tail -n 25 "$dir/kafka/mvn.log" >&2; die "could not fetch Kafka"; }
  echo "$stamp" >"$cache/kafka.stamp"
}
start_kafka() {
  local d=$dir/kafka port controller
  port=$(port_of kafka)
  controller=$(port_of kafka controller)
  # Small, without replication; topics are made by whoever needs them. A broker that was killed may come back once its
  # old session is over, after 9 s by default.
  printf '%s\n' process.roles=broker,controller node.id=1 "controller.quorum.voters=1@127.0.0.1:$controller" \
    "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" "advertised.listeners=PLAINTEXT://127.0.0.1:$port" \
    inter.broker.listener.name=PLAINTEXT controller.listener.names=CONTROLLER \
    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT "log.dirs=$d/data" \
    num.partitions=1 default.replication.factor=1 auto.create.topics.enable=false \
    offsets.topic.replication.factor=1 offsets.topic.num.partitions=4 \
    transaction.state.log.replication.factor=1 transaction.state.log.min.isr=1 transaction.state.log.num.partitions=4 \
    share.coordinator.state.topic.replication.factor=1 share.coordinator.state.topic.min.isr=1 \
    share.coordinator.state.topic.num.partitions=4 group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=1000 \
    broker.session.timeout.ms=3000 broker.heartbeat.interval.ms=500 \
    log.segment.bytes=67108864 log.cleaner.dedupe.buffer.size=8388608 >"$d/server.properties"
  # For tests of refused credentials and permissions: another listener, whose user may do only what others allow it.
  [ -z "${SERVICES_KAFKA_SASL_PORT:-}" ] || printf '%s\n' \
    "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller,SASL_PLAINTEXT://127.0.0.1:$SERVICES_KAFKA_SASL_PORT" \
    "advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_PLAINTEXT://127.0.0.1:$SERVICES_KAFKA_SASL_PORT" \
    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT sasl.enabled.mechanisms=PLAIN \
    'listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_user="secret";' \
    authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer super.users=User:ANONYMOUS >>"$d/server.properties"
  local java=(java -Xms192m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.logFile=System.out -cp "$cache/kafka/*")
  [ -s "$d/data/meta.properties" ] ||
    "${java[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw \
      --config "$d/server.properties" --ignore-formatted >>"$d/log" 2>&1
  launch kafka "${java[@]}" kafka.Kafka "$d/server.properties"
}
ready_kafka() { (ask "$(port_of kafka)" '\0\0\0\012\0\022\0\0\0\0\0\001\377\377' '?*' 8); } # it answers which requests it knows
set_up_kafka() { :; }
stop_kafka() { stop kafka TERM; }

# --- verbs

foreign() { # whether the variable of service NAME is set already
  local variable=variable_$1
  variable=${!variable}
  [ -n "${!variable:-}" ]
}

up() {
  local name deadline ours=()
  mkdir -p "$cache"
  exec 7>"$cache/.lock" # other checkouts install into it, too
  flock -w 600 7 || die "another services.sh holds $cache/.lock"
  for name in "$@"; do
    if foreign "$name"; then say "$name: the server that is set already"; continue; fi
    ours+=("$name")
    mkdir -p "$dir/$name"
    "install_$name"
  done
  exec 7>&-
  for name in "${ours[@]}"; do
    if pid_of "$name" >/dev/null; then
      kill -CONT "$(pid_of "$name")"
    else
      "start_$name"
    fi
  done
  for name in "${ours[@]}"; do
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
