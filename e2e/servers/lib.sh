# Sourced by the scripts beside it. Everything is for Linux: it reads /proc.
# shellcheck shell=bash

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

check_port() {
    [[ $1 =~ ^[1-9][0-9]{3,4}$ ]] || die "port '$1' is not a number from 1024 to 65000"
    (($1 >= 1024 && $1 <= 65000)) || die "port $1 is not from 1024 to 65000"
}

listening() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# alive PIDFILE WORD: the process is there and WORD is one of its arguments, so a
# pid that the system has given to another process since is not taken for ours.
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    grep -qzxF -e "$2" "/proc/$pid/cmdline" 2>/dev/null
}

# background PIDFILE LOG COMMAND...: runs the command in a session of its own, so
# that neither Ctrl-C nor the end of the caller reaches it. The log of the run
# before is kept as LOG.old.
background() {
    local pidfile=$1 log=$2
    shift 2
    [[ ! -f $log ]] || mv -f "$log" "$log.old"
    setsid "$@" </dev/null >"$log" 2>&1 &
    echo $! >"$pidfile"
}

# terminate PIDFILE WORD: ends the process if it is alive, politely at first.
terminate() {
    local deadline=$((SECONDS + 30))
    ! alive "$1" "$2" || kill "$(<"$1")" 2>/dev/null || true
    while alive "$1" "$2"; do
        if ((SECONDS >= deadline)); then
            echo "${0##*/}: process $(<"$1") has not ended within 30 s, killed" >&2
            kill -KILL "$(<"$1")" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    rm -f "$1"
}

# excerpt LOG: prints what tells most about a failure.
excerpt() {
    { grep -vE ' INFO |level=info|^[[:space:]]+at ' "$1" || cat "$1"; } | tail -n 5 >&2
}

# make_certificates TLS NAME...: an authority, and what it has signed for the server and
# for each NAME.
make_certificates() {
    local tls=$1 name
    shift
    command -v openssl >/dev/null || die "openssl is needed for certificates; run $here/install.sh"
    rm -rf "$tls"
    mkdir -m 700 "$tls"
    new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tls/$1.key"; }
    {
        new_key ca
        openssl req -x509 -new -key "$tls/ca.key" -subj "/CN=ragstreams test authority" -days 3650 -out "$tls/ca.pem"
        for name in server "$@"; do
            new_key "$name"
            openssl req -new -key "$tls/$name.key" -subj "/CN=$name" -out "$tls/$name.csr"
            openssl x509 -req -in "$tls/$name.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 3650 \
                -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$tls/$name.pem"
        done
    } >"$tls/log" 2>&1 || die "openssl could not make certificates, see $tls/log"
}
