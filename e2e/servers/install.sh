#!/usr/bin/env bash
#
# install.sh            installs all that the servers here need, Kafka's jars included
# install.sh TOOL...    only these: java, mvn, prometheus, amtool, rabbitmq, openssl, curl, chromium
#
# For Debian and its kin. What is there already is kept, wherever it comes from, so
# a second run changes nothing and takes no time. Needs root only to add a package.
#
# install.sh --have-java   succeeds if there is a Java that Kafka runs on

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

declare -A package=([java]=default-jre-headless [mvn]=maven [prometheus]=prometheus [amtool]=prometheus-alertmanager [rabbitmq]=rabbitmq-server [openssl]=openssl [curl]=curl [chromium]=chromium)

# Kafka 4 runs on Java 17 or newer.
have_java() {
    local version
    version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1) || return 1
    [[ $version =~ version\ \"([0-9]+) ]] && ((BASH_REMATCH[1] >= 17))
}

have() {
    case $1 in
        java) have_java ;;
        rabbitmq) [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

if [[ ${1:-} == --have-java ]]; then
    have_java
    exit
fi

missing=()
tools=("$@")
(($#)) || tools=(java mvn prometheus amtool rabbitmq openssl curl chromium)
for tool in "${tools[@]}"; do
    [[ -n ${package[$tool]:-} ]] || die "'$tool' is unknown; there are ${!package[*]}"
    have "$tool" || missing+=("${package[$tool]}")
done

if ((${#missing[@]})); then
    install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || die "missing ${missing[*]}, and no apt-get to install them"
    ((EUID == 0)) || die "missing ${missing[*]}; as root: $install"
    echo "install.sh: $install" >&2
    export DEBIAN_FRONTEND=noninteractive
    # A package must not start a server of its own: ours listen where they are told to.
    export RUNLEVEL=1
    apt-get update -q >&2 || die "apt-get update found no package lists"
    apt-get install -q -y --no-install-recommends "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}"
    for tool in "${tools[@]}"; do
        have "$tool" || die "$tool is still not there, or too old, after installing ${package[$tool]}"
    done
fi

(($#)) || "$here/kafka.sh" jars >/dev/null
