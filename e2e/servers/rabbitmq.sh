#!/usr/bin/env bash
#
# rabbitmq.sh start DIR PORT   starts a RabbitMQ node on 127.0.0.1 and prints its address
#                              once it serves clients; with the data it had in DIR
# rabbitmq.sh stop DIR         stops it and keeps its data
#
# AMQP is at PORT, the management API at PORT+1 (user and password guest), Erlang's own
# traffic at PORT+3 and its port mapper at PORT+4. All it writes is in DIR: rabbitmq.pid,
# log, mnesia, rabbitmq.conf.
#
# Environment:
#   RABBITMQ_EXTRA    file with more lines of rabbitmq.conf, such as limits or TLS
#   RABBITMQ_TIMEOUT  seconds to wait until it serves, default 60

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

usage="usage: rabbitmq.sh start DIR PORT | stop DIR"

# The package's command of that name changes to a user who cannot write DIR.
server=/usr/lib/rabbitmq/bin/rabbitmq-server

main() {
    case ${1:-}/$# in
        stop/2) stop "$2" ;;
        start/3) start "$2" "$3" ;;
        *) die "$usage" ;;
    esac
}

start() {
    local dir=$1 port=$2 since=$SECONDS timeout=${RABBITMQ_TIMEOUT:-60} why=""
    check_port "$port"
    "$here/install.sh" rabbitmq curl
    mkdir -p "$dir/log" "$dir/mnesia" || die "cannot make $dir"
    dir=$(cd "$dir" && pwd)
    ! running "$dir" || die "RabbitMQ of $dir runs already; stop it first"
    ! listening "$port" || die "port $port is taken by another process"
    rm -f "$dir/rabbitmq.pid"
    configure "$port" >"$dir/rabbitmq.conf"
    echo "[rabbitmq_management]." >"$dir/plugins"
    HOME=$dir RABBITMQ_NODENAME=rabbit$port@localhost RABBITMQ_DIST_PORT=$((port + 3)) \
        ERL_EPMD_PORT=$((port + 4)) ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/log RABBITMQ_PID_FILE=$dir/rabbitmq.pid \
        RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins \
        background "$dir/pid" "$dir/log/stdout" "$server"
    until curl -fsS -u guest:guest "http://127.0.0.1:$((port + 1))/api/aliveness-test/%2F" >/dev/null 2>&1; do
        if ! kill -0 "$(<"$dir/pid")" 2>/dev/null && ! running "$dir"; then
            why="has ended"
        elif ((SECONDS - since >= timeout)); then
            why="does not serve after $timeout s"
        fi
        if [[ -n $why ]]; then
            excerpt "$dir/log/stdout"
            stop "$dir"
            die "RabbitMQ $why, see $dir/log"
        fi
        sleep 0.2
    done
    echo "amqp://guest:guest@127.0.0.1:$port/"
}

configure() {
    echo "listeners.tcp.1 = 127.0.0.1:$1"
    echo "management.tcp.ip = 127.0.0.1"
    echo "management.tcp.port = $(($1 + 1))"
    [[ -z ${RABBITMQ_EXTRA:-} ]] || cat "$RABBITMQ_EXTRA"
}

# running DIR: the Erlang machine of DIR is there. It tells its folder as an argument.
running() {
    local pid
    pid=$(cat "$1/rabbitmq.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] && tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF -e "RABBITMQ_MNESIA_BASE=$1/mnesia"
}

stop() {
    [[ -f $1/rabbitmq.conf ]] || die "$1 was not made by rabbitmq.sh start"
    local dir port deadline=$((SECONDS + 30))
    dir=$(cd "$1" && pwd)
    ! running "$dir" || kill "$(<"$dir/rabbitmq.pid")" 2>/dev/null || true
    while running "$dir"; do
        if ((SECONDS >= deadline)); then
            echo "rabbitmq.sh: process $(<"$dir/rabbitmq.pid") has not ended within 30 s, killed" >&2
            kill -KILL "$(<"$dir/rabbitmq.pid")" 2>/dev/null || true
        fi
        sleep 0.1
    done
    port=$(sed -n 's/^listeners.tcp.1 = .*:\([0-9]*\)$/\1/p' "$dir/rabbitmq.conf")
    ERL_EPMD_PORT=$((port + 4)) epmd -kill >/dev/null 2>&1 || true
    rm -f "$dir/rabbitmq.pid" "$dir/pid"
}

main "$@"
