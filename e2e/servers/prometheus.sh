#!/usr/bin/env bash
#
# prometheus.sh start DIR PORT TARGET...    starts Prometheus on 127.0.0.1:PORT, which
#                                           scrapes each TARGET (host:port) every second,
#                                           and prints its address once it serves
# prometheus.sh start DIR PORT TARGETFILE   the same; the targets stand in a file (.json,
#                                           .yml or .yaml, as for file_sd_configs), which
#                                           may change while it runs
# prometheus.sh stop DIR                    stops it and keeps its data
#
# Exemplars and native histograms are kept. All it writes is in DIR: pid, log,
# prometheus.yml, data.
#
# Environment:
#   PROMETHEUS_JOB     file with more lines of the scrape job, such as
#                      metric_relabel_configs, as they stand at the start of a line
#   PROMETHEUS_RULES   file with rules
#   PROMETHEUS_TIMEOUT seconds to wait until it serves, default 30

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

usage="usage: prometheus.sh start DIR PORT TARGETFILE|TARGET... | stop DIR"

main() {
    local command=${1:-}
    case $command/$# in
        stop/2) stop "$2" ;;
        start/[0-3]) die "$usage" ;;
        start/*) shift && start "$@" ;;
        *) die "$usage" ;;
    esac
}

start() {
    local dir=$1 port=$2 url=http://127.0.0.1:$2 targets since=$SECONDS timeout=${PROMETHEUS_TIMEOUT:-30} why=""
    shift 2
    check_port "$port"
    targets=$(find_targets "$@") || exit 1
    "$here/install.sh" prometheus curl
    mkdir -p "$dir" || die "cannot make $dir"
    dir=$(cd "$dir" && pwd)
    ! alive "$dir/pid" "--config.file=$dir/prometheus.yml" || die "Prometheus of $dir runs already; stop it first"
    ! listening "$port" || die "port $port is taken by another process"
    configure "$targets" >"$dir/prometheus.yml"
    background "$dir/pid" "$dir/log" prometheus --config.file="$dir/prometheus.yml" \
        --storage.tsdb.path="$dir/data" --web.listen-address="127.0.0.1:$port" --web.enable-lifecycle \
        --enable-feature=exemplar-storage,native-histograms
    until curl -fsS "$url/-/ready" >/dev/null 2>&1; do
        if ! kill -0 "$(<"$dir/pid")" 2>/dev/null; then
            why="has ended"
        elif ((SECONDS - since >= timeout)); then
            why="does not serve after $timeout s"
        fi
        if [[ -n $why ]]; then
            excerpt "$dir/log"
            stop "$dir"
            die "Prometheus $why, see $dir/log"
        fi
        sleep 0.1
    done
    echo "$url"
}

stop() {
    [[ -f $1/prometheus.yml ]] || die "$1 was not made by prometheus.sh start"
    local dir
    dir=$(cd "$1" && pwd)
    terminate "$dir/pid" "--config.file=$dir/prometheus.yml"
}

# find_targets TARGETFILE|TARGET...: prints the service discovery of the job.
find_targets() {
    local target list=""
    if [[ $# == 1 && -f $1 ]]; then
        [[ $1 =~ \.(json|yml|yaml)$ ]] || die "target file $1 must end in .json, .yml or .yaml"
        echo "file_sd_configs: [{files: ['$(cd "$(dirname "$1")" && pwd)/$(basename "$1")'], refresh_interval: 1s}]"
        return
    fi
    for target; do
        [[ $target =~ ^[^/\ ]+:[0-9]+$ ]] || die "target '$target' is neither host:port nor a file"
        list+=",'$target'"
    done
    echo "static_configs: [{targets: [${list#,}]}]"
}

# configure DISCOVERY: prints the configuration.
configure() {
    echo "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}"
    [[ -z ${PROMETHEUS_RULES:-} ]] || echo "rule_files: ['$(realpath "$PROMETHEUS_RULES")']"
    echo "scrape_configs:"
    echo "  - job_name: ragstreams"
    echo "    $1"
    [[ -z ${PROMETHEUS_JOB:-} ]] || sed 's/^/    /' "$PROMETHEUS_JOB"
}

main "$@"
