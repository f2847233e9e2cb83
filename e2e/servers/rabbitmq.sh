#!/usr/bin/env bash
#
# rabbitmq.sh start DIR PORT   starts a RabbitMQ node on 127.0.0.1 and prints its address
#                              once it serves clients; with the data it had in DIR
# rabbitmq.sh stop DIR         stops it and keeps its data
# rabbitmq.sh ctl DIR ...      runs rabbitmqctl on the node
#
# AMQP is at PORT, the management API at PORT+1 (user and password guest), Erlang's own
# traffic at PORT+3 and its port mapper at PORT+4. All it writes is in DIR: rabbitmq.pid,
# log, mnesia, rabbitmq.conf.
#
# Environment:
#   RABBITMQ_SECURE=1 adds AMQP over TLS at PORT+2. Clients need a certificate, and may log
#                     in with it: analytics is a user, and DIR/tls/analytics.pem its
#                     certificate, DIR/tls/analytics.key the key; stranger has those, too,
#                     and is no user. DIR/tls/ca.pem is whom to trust.
#   RABBITMQ_EXTRA    file with more lines of rabbitmq.conf, such as limits or TLS
#   RABBITMQ_TIMEOUT  seconds to wait until it serves, default 60

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

usage="usage: rabbitmq.sh start DIR PORT | stop DIR | ctl DIR ..."

main() {
    case ${1:-}/$# in
        stop/2) stop "$2" ;;
        start/3) start "$2" "$3" ;;
        ctl/[3-9]) ctl "${@:2}" ;;
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
    [[ ${RABBITMQ_SECURE:-0} != 1 || -d $dir/tls ]] || make_certificates "$dir/tls" analytics stranger
    configure "$dir" "$port" >"$dir/rabbitmq.conf"
    echo "[rabbitmq_management,rabbitmq_auth_mechanism_ssl]." >"$dir/plugins"
    RABBITMQ_DIST_PORT=$((port + 3)) ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/log RABBITMQ_PID_FILE=$dir/rabbitmq.pid \
        RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins \
        node "$dir" "$port" background "$dir/pid" "$dir/log/stdout" /usr/lib/rabbitmq/bin/rabbitmq-server
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
    [[ ${RABBITMQ_SECURE:-0} != 1 ]] ||
        curl -fsS -u guest:guest -X PUT -d '{"password_hash": "", "tags": ""}' "http://127.0.0.1:$((port + 1))/api/users/analytics" >&2 ||
        die "cannot make the user analytics"
    echo "amqp://guest:guest@127.0.0.1:$port/"
}

# node DIR PORT COMMAND...: runs a command that is to know the node. Those of the package
# that are on the PATH change to a user who cannot write DIR.
node() {
    HOME=$1 RABBITMQ_NODENAME=rabbit$2@localhost ERL_EPMD_PORT=$(($2 + 4)) "${@:3}"
}

# configure DIR PORT: prints rabbitmq.conf.
configure() {
    echo "listeners.tcp.1 = 127.0.0.1:$2"
    echo "management.tcp.ip = 127.0.0.1"
    echo "management.tcp.port = $(($2 + 1))"
    if [[ ${RABBITMQ_SECURE:-0} == 1 ]]; then
        echo "listeners.ssl.1 = 127.0.0.1:$(($2 + 2))"
        echo "ssl_options.cacertfile = $1/tls/ca.pem"
        echo "ssl_options.certfile = $1/tls/server.pem"
        echo "ssl_options.keyfile = $1/tls/server.key"
        echo "ssl_options.verify = verify_peer"
        echo "ssl_options.fail_if_no_peer_cert = true"
        echo "auth_mechanisms.1 = PLAIN"
        echo "auth_mechanisms.2 = EXTERNAL"
        echo "ssl_cert_login_from = common_name"
    fi
    [[ -z ${RABBITMQ_EXTRA:-} ]] || cat "$RABBITMQ_EXTRA"
}

# running DIR: the Erlang machine of DIR is there. It tells its folder as an argument.
running() { is_node "$1" "$(cat "$1/rabbitmq.pid" 2>/dev/null)"; }

# is_node DIR PID: the process is the Erlang machine of DIR.
is_node() {
    [[ $2 =~ ^[0-9]+$ ]] && tr '\0' '\n' <"/proc/$2/environ" 2>/dev/null | grep -qxF -e "RABBITMQ_MNESIA_BASE=$1/mnesia"
}

port_of() { sed -n 's/^listeners.tcp.1 = .*:\([0-9]*\)$/\1/p' "$1/rabbitmq.conf"; }

ctl() {
    [[ -f $1/rabbitmq.conf ]] || die "$1 was not made by rabbitmq.sh start"
    local dir
    dir=$(cd "$1" && pwd)
    node "$dir" "$(port_of "$dir")" /usr/lib/rabbitmq/bin/rabbitmqctl "${@:2}"
}

stop() {
    [[ -f $1/rabbitmq.conf ]] || die "$1 was not made by rabbitmq.sh start"
    local dir port pid deadline=$((SECONDS + 30))
    dir=$(cd "$1" && pwd)
    pid=$(cat "$dir/rabbitmq.pid" 2>/dev/null) || true # the node removes it long before it has ended
    ! is_node "$dir" "$pid" || kill "$pid" 2>/dev/null || true
    while is_node "$dir" "$pid"; do
        if ((SECONDS >= deadline)); then
            echo "rabbitmq.sh: process $pid has not ended within 30 s, killed" >&2
            kill -KILL "$pid" 2>/dev/null || true
        fi
        sleep 0.1
    done
    port=$(port_of "$dir")
    deadline=$((SECONDS + 5)) # the port mapper stays until it has seen that the node is gone
    while listening $((port + 4)) && ((SECONDS < deadline)); do
        ERL_EPMD_PORT=$((port + 4)) epmd -kill >/dev/null 2>&1 || true
        sleep 0.1
    done
    rm -f "$dir/rabbitmq.pid" "$dir/pid"
}

main "$@"
