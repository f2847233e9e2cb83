#!/usr/bin/env bash
#
# kafka.sh start DIR PORT [1|3]   starts Apache Kafka 4.3.1, one broker or three,
#                                 and prints the bootstrap addresses once it serves
# kafka.sh stop DIR               stops it and keeps its data
# kafka.sh jars                   only fetches what it runs on, and prints where
#
# Brokers are also controllers (KRaft) and listen on 127.0.0.1 only: broker N = 0, 1,
# 2 on PORT+N for clients, PORT+10+N for controllers, PORT+20+N for SASL_SSL and
# PORT+30+N for mutual TLS. All they write is in DIR/N: pid, log, server.properties,
# data. A test may kill a broker by its pid: start on the same DIR starts what is down.
#
# Environment:
#   KAFKA_SECURE=1   adds the two encrypted listeners and access control: SASL_SSL takes
#                    SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN. Must not change for a DIR.
#   KAFKA_USERS      users of those, default admin:admin-secret,analytics:analytics-secret.
#                    Each may log in by either way as User:NAME: by password or with the
#                    certificate DIR/tls/NAME.pem and its key DIR/tls/NAME.key; DIR/tls/
#                    ca.pem is whom to trust. admin may do everything, and so may who
#                    comes by the plain listener; everyone else needs ACLs.
#   KAFKA_AUDIT=1    with KAFKA_SECURE=1: DIR/N/log has a line for everything that access
#                    control allows, too, and not only for what it denies. These are many.
#   KAFKA_PROXIED=K  adds K listeners, 1 to 3, for clients whose connections are to be
#                    disturbed: listener k on PORT+30+10k+N tells them to connect to
#                    PORT+60+10k+N, where a proxy to it must listen.
#   KAFKA_EXTRA      file with more lines for server.properties
#   KAFKA_HEAP       heap of a broker, default 1g
#   KAFKA_TIMEOUT    seconds to wait until it serves, default 60
#   KAFKA_JARS       folder of the jars, default ~/.cache/ragstreams-kafka
#   JAVA_HOME        Java 17 or newer, default the one on the PATH

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

usage="usage: kafka.sh start DIR PORT [1|3] | stop DIR | jars"
version=4.3.1
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
jars=${KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/ragstreams-kafka}

main() {
    case ${1:-}/$# in
        start/3 | start/4) start "$2" "$3" "${4:-1}" ;;
        stop/2) stop "$2" ;;
        jars/1) fetch_jars && echo "$jars" ;;
        *) die "$usage" ;;
    esac
}

complete() { [[ -s $jars/.complete && -f $jars/kafka_2.13-$version.jar && -f $jars/kafka-tools-$version.jar ]]; }

# Jars are copied to a folder of their own first and put in place whole, so a
# download that breaks off leaves nothing that looks usable.
fetch_jars() {
    ! complete || return 0
    command -v mvn >/dev/null || die "Maven is needed to fetch Kafka; run $here/install.sh"
    mkdir -p "$(dirname "$jars")"
    (
        flock 9
        ! complete || exit 0 # another process has fetched them meanwhile
        echo "kafka.sh: fetching Kafka $version into $jars" >&2
        rm -rf "$jars.new"
        mkdir "$jars.new"
        mvn -B -q -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$jars.new" >"$jars.log" 2>&1 || exit 1
        sha256sum <"$here/kafka/pom.xml" >"$jars.new/.complete"
        rm -rf "$jars"
        mv "$jars.new" "$jars"
    ) 9>"$jars.lock" || {
        excerpt "$jars.log"
        die "Maven could not fetch Kafka, see $jars.log"
    }
}

start() {
    local dir=$1 port=$2 brokers=$3 n
    check_port "$port"
    [[ $brokers == 1 || $brokers == 3 ]] || die "'$brokers' brokers; there can be 1 or 3"
    [[ ${KAFKA_PROXIED:-0} =~ ^[0-3]$ ]] || die "KAFKA_PROXIED is '$KAFKA_PROXIED'; there can be 0 to 3"
    [[ -z ${KAFKA_EXTRA:-} || -r $KAFKA_EXTRA ]] || die "KAFKA_EXTRA: cannot read $KAFKA_EXTRA"
    [[ ${KAFKA_SECURE:-0} != 1 ]] || users >/dev/null
    local audit=info
    [[ ${KAFKA_AUDIT:-0} != 1 ]] || audit=debug
    "$here/install.sh" --have-java || die "Kafka needs Java 17 or newer; run $here/install.sh or set JAVA_HOME"
    fetch_jars
    mkdir -p "$dir" || die "cannot make $dir"
    dir=$(cd "$dir" && pwd)
    claim "$dir" "$port $brokers ${KAFKA_SECURE:-0}"

    local down=()
    for ((n = 0; n < brokers; n++)); do
        alive "$dir/$n/pid" "$dir/$n/server.properties" || down+=("$n")
    done
    for n in ${down[@]+"${down[@]}"}; do
        configure "$dir" "$port" "$brokers" "$n"
    done
    format "$dir" ${down[@]+"${down[@]}"}
    for n in ${down[@]+"${down[@]}"}; do
        background "$dir/$n/pid" "$dir/$n/log" "$java" -Xmx"${KAFKA_HEAP:-1g}" -XX:+UseG1GC \
            -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
            -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -Dkafka.audit="$audit" \
            -cp "$jars/*" kafka.Kafka "$dir/$n/server.properties"
    done
    for n in ${down[@]+"${down[@]}"}; do
        await "$dir" "$n" $((port + n))
    done
    seq -s, -f "127.0.0.1:%.0f" "$port" $((port + brokers - 1))
}

stop() {
    local dir pidfile
    [[ -f $1/layout ]] || die "$1 was not made by kafka.sh start"
    dir=$(cd "$1" && pwd)
    # All get the signal before any is waited for: brokers that are left alone have
    # no quorum and cannot leave in peace.
    for pidfile in "$dir"/?/pid; do
        ! alive "$pidfile" "${pidfile%pid}server.properties" || kill "$(<"$pidfile")" 2>/dev/null || true
    done
    for pidfile in "$dir"/?/pid; do
        terminate "$pidfile" "${pidfile%pid}server.properties"
    done
}

# claim DIR LAYOUT: makes a cluster of DIR, or checks that it is the one asked for.
claim() {
    local dir=$1 layout=$2
    if [[ ! -f $dir/layout ]]; then
        [[ ${KAFKA_SECURE:-0} != 1 ]] || user_certificates "$dir/tls"
        # 22 characters of base64 without '-', which would look like an option.
        head -c 16 /dev/urandom | base64 | tr '+/' 'xy' | head -c 22 >"$dir/cluster"
        echo "$layout" >"$dir/layout"
    fi
    [[ $(<"$dir/layout") == "$layout" ]] ||
        die "$dir holds a cluster with port, brokers, security = $(<"$dir/layout"); asked for $layout"
}

# users: prints name and password of each user, a line each.
users() {
    local user
    for user in $(tr , ' ' <<<"${KAFKA_USERS:-admin:admin-secret,analytics:analytics-secret}"); do
        [[ $user =~ ^[A-Za-z0-9_-]+:[^\"\\,:]+$ ]] || die "KAFKA_USERS: '$user' is not name:password"
        echo "${user%%:*} ${user#*:}"
    done
}

# user_certificates TLS: those of the server and of each user.
user_certificates() {
    local list
    list=$(users)
    # shellcheck disable=SC2046 # names are words
    make_certificates "$1" $(cut -d' ' -f1 <<<"$list")
    cat "$1/server.key" "$1/server.pem" >"$1/server.both"
}

# configure DIR PORT BROKERS N: writes server.properties.
configure() {
    local dir=$1 port=$2 brokers=$3 n=$4 listeners advertised controller voters="" k name password plain=""
    controller=CONTROLLER://127.0.0.1:$((port + 10 + n))
    listeners=PLAINTEXT://127.0.0.1:$((port + n))
    [[ ${KAFKA_SECURE:-0} != 1 ]] ||
        listeners+=",SASL_SSL://127.0.0.1:$((port + 20 + n)),SSL://127.0.0.1:$((port + 30 + n))"
    advertised=$listeners
    for ((k = 1; k <= ${KAFKA_PROXIED:-0}; k++)); do
        listeners+=",VIA$k://127.0.0.1:$((port + 30 + 10 * k + n))"
        advertised+=",VIA$k://127.0.0.1:$((port + 60 + 10 * k + n))"
    done
    for k in $(grep -oE '[0-9]+$' <<<"${listeners//,/$'\n'}") $((port + 10 + n)); do
        ! listening "$k" || die "port $k is taken by another process"
    done
    for ((k = 0; k < brokers; k++)); do voters+=,$k@127.0.0.1:$((port + 10 + k)); done
    mkdir -p "$dir/$n"
    {
        cat "$here/kafka/broker.properties"
        echo
        echo "node.id=$n"
        echo "log.dirs=$dir/$n/data"
        echo "listeners=$listeners,$controller"
        echo "advertised.listeners=$advertised"
        echo "controller.quorum.voters=${voters#,}"
        echo "default.replication.factor=$brokers"
        echo "min.insync.replicas=$(((brokers + 1) / 2))"
        echo "offsets.topic.replication.factor=$brokers"
        echo "transaction.state.log.replication.factor=$brokers"
        echo "transaction.state.log.min.isr=$(((brokers + 1) / 2))"
        echo "share.coordinator.state.topic.replication.factor=$brokers"
        echo "share.coordinator.state.topic.min.isr=$(((brokers + 1) / 2))"
        if [[ ${KAFKA_SECURE:-0} == 1 ]]; then
            while read -r name password; do plain+=" user_$name=\"$password\""; done < <(users)
            local scram=org.apache.kafka.common.security.scram.ScramLoginModule
            local login=listener.name.sasl_ssl
            echo "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"
            echo "$login.scram-sha-256.sasl.jaas.config=$scram required;"
            echo "$login.scram-sha-512.sasl.jaas.config=$scram required;"
            echo "$login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$plain;"
            echo "ssl.keystore.type=PEM"
            echo "ssl.keystore.location=$dir/tls/server.both"
            echo "ssl.truststore.type=PEM"
            echo "ssl.truststore.location=$dir/tls/ca.pem"
            echo "listener.name.ssl.ssl.client.auth=required"
            # shellcheck disable=SC2016 # Kafka replaces the $1
            echo 'ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/'
            echo "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            echo "super.users=User:ANONYMOUS;User:admin"
        fi
        [[ -z ${KAFKA_EXTRA:-} ]] || cat "$KAFKA_EXTRA"
    } >"$dir/$n/server.properties"
}

# format DIR N...: makes the data folders that are not there yet, all at a time.
format() {
    local dir=$1 n name password scram=() jobs=()
    shift
    if [[ ${KAFKA_SECURE:-0} == 1 ]]; then
        while read -r name password; do
            scram+=(--add-scram "SCRAM-SHA-256=[name=$name,password=$password]"
                --add-scram "SCRAM-SHA-512=[name=$name,password=$password]")
        done < <(users)
    fi
    for n; do
        [[ ! -f $dir/$n/data/meta.properties ]] || continue
        "$java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
            -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -cp "$jars/*" kafka.tools.StorageTool \
            format --cluster-id "$(<"$dir/cluster")" --config "$dir/$n/server.properties" \
            ${scram[@]+"${scram[@]}"} >"$dir/$n/format.log" 2>&1 &
        jobs+=("$n" $!)
    done
    set -- ${jobs[@]+"${jobs[@]}"}
    while (($#)); do
        wait "$2" || {
            excerpt "$dir/$1/format.log"
            die "broker $1 could not make its data folder, see $dir/$1/format.log"
        }
        shift 2
    done
}

# await DIR N PORT: returns when the broker serves. If it does not, all are stopped.
await() {
    local dir=$1 n=$2 port=$3 why="" timeout=${KAFKA_TIMEOUT:-60} since=$SECONDS
    until grep -qs 'Kafka Server started' "$dir/$n/log" && listening "$port"; do
        if ! kill -0 "$(<"$dir/$n/pid")" 2>/dev/null; then
            why="has ended"
        elif ((SECONDS - since >= timeout)); then
            why="does not serve after $timeout s"
        fi
        if [[ -n $why ]]; then
            excerpt "$dir/$n/log"
            stop "$dir"
            die "broker $n $why, see $dir/$n/log"
        fi
        sleep 0.1
    done
}

main "$@"
