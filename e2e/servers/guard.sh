#!/usr/bin/env bash
#
# guard.sh DIR   waits until its standard input is closed, then ends every server
#                and program that runs in a folder of DIR, and removes the data of
#                the servers; logs stay. File systems that are mounted there go, too
#
# Who starts servers holds the other end of the pipe. However that process ends, even
# by kill -9, nothing of it goes on.

set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

(($# == 1)) || die "usage: guard.sh DIR"
trap '' INT TERM HUP
cat >/dev/null
for dir in "$1"/*/; do
    if [[ -f $dir/program ]] && alive "$dir/pid" "$(<"$dir/program")"; then
        kill -KILL "$(<"$dir/pid")"
    fi
done
while read -r _ mounted _; do
    [[ $mounted != "$1"/* ]] || umount --lazy "$mounted"
done </proc/mounts
for dir in "$1"/*/; do
    if [[ -f $dir/prometheus.yml ]]; then
        "$here/prometheus.sh" stop "$dir" && rm -rf "$dir/data"
    elif [[ -f $dir/rabbitmq.conf ]]; then
        "$here/rabbitmq.sh" stop "$dir" && rm -rf "$dir/mnesia"
    elif [[ -f $dir/layout ]]; then
        "$here/kafka.sh" stop "$dir" && rm -rf "$dir"/?/data
    fi
done
