#!/usr/bin/env bash
# A real Slurm of one node for the time of one command, as root on Debian or Ubuntu:
#
#   tests/slurm/cluster.sh COMMAND...    install what is missing, start, run COMMAND, stop whatever happens
#
# Everything but the packages is taken away again. The configuration has to lie in /etc/slurm meanwhile: the executor plugin
# takes SLURM_CONF out of the environment of a job's `srun`. A machine that has a slurm.conf there already is left alone.
# Where the machine permits namespaces, all of it has an /etc/slurm of its own, and no network but the loopback device.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
ETC=/etc/slurm
CONFIGURATION=(slurm.conf gres.conf)
DAEMONS=(slurmd slurmctld munged)

fail() { echo "cluster.sh: $*" >&2; exit 1; }

# whether a file is the link of an earlier call that was killed and whose controller is gone
left_over() {
    local target
    target=$(readlink "$1") && [[ $target == */selfdistill-slurm.*/* ]] &&
        ! kill -0 "$(cat "${target%/*}/slurmctld.pid" 2>/dev/null)" 2>/dev/null
}

install_slurm() {
    local missing=0 program log
    for program in sbatch srun slurmctld slurmd munged ip; do
        command -v "$program" >/dev/null || missing=1
    done
    [ "$missing" = 0 ] && return
    command -v apt-get >/dev/null || fail "no Slurm here, and no apt-get to install slurm-wlm and munge with"
    echo "installing slurm-wlm, munge and iproute2"
    log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge iproute2; } \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get could not install slurm-wlm, munge and iproute2 ($log)"; }
    rm "$log"
}

start() {
    local host memory name
    host=$(hostname -s)
    memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    mkdir -p "$ETC" "$DIR/slurmd" "$DIR/slurmctld"
    sed -e "s|@HOST@|$host|g; s|@DIR@|$DIR|g; s|@CPUS@|$(getconf _NPROCESSORS_ONLN)|g; s|@MEMORY@|$memory|g" "$HERE/slurm.conf.in" \
        >"$DIR/slurm.conf"
    cp "$HERE/gres.conf" "$DIR/gres.conf"
    for name in "${CONFIGURATION[@]}"; do ln -s "$DIR/$name" "$ETC/$name"; done
    # a key and a socket of its own; --force, for munged objects to the group-writable parents of a temporary folder
    (umask 077 && head -c 1024 /dev/urandom >"$DIR/munge.key")
    munged --force --key-file="$DIR/munge.key" --socket="$DIR/munge.socket" --pid-file="$DIR/munged.pid" \
        --log-file="$DIR/munged.log" --seed-file="$DIR/munge.seed" 2>>"$DIR/munged.err"
    slurmctld
    slurmd -N "$host"
    for _ in $(seq 60); do
        sinfo --noheader --format=%T 2>/dev/null | grep -q idle && return
        sleep 0.5
    done
    tail -n 20 "$DIR"/*.log >&2
    fail "Slurm did not come up within 30 s"
}

stop() {
    local name daemon pid
    trap - EXIT
    trap '' INT TERM
    scancel --user="$(id -un)" 2>/dev/null && sleep 2
    for daemon in "${DAEMONS[@]}"; do
        pid=$(cat "$DIR/$daemon.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
    done
    for name in "${CONFIGURATION[@]}"; do
        [ "$(readlink "$ETC/$name")" = "$DIR/$name" ] && rm "$ETC/$name"
    done
    rm -rf "$DIR"
}

[ $# -gt 0 ] || fail "which command shall run beside Slurm?"
[ "$(id -u)" = 0 ] || fail "must run as root: it installs packages and starts Slurm's daemons"
install_slurm
alone=(unshare --net --mount)
if [ -z "${ISOLATED:-}" ] && "${alone[@]}" true 2>/dev/null; then ISOLATED=1 exec "${alone[@]}" "$0" "$@"; fi
if [ -n "${ISOLATED:-}" ]; then
    ip link set lo up
    ip address add 192.0.2.1/32 dev lo  # nobody's (RFC 5737): slurmd needs an address beside 127.0.0.1
    mkdir -p "$ETC"
    mount -t tmpfs tmpfs "$ETC"
fi
for name in "${CONFIGURATION[@]}"; do
    if left_over "$ETC/$name"; then rm "$ETC/$name"; fi
    [ ! -e "$ETC/$name" ] && [ ! -L "$ETC/$name" ] || fail "$ETC/$name exists: a Slurm runs or is configured here already"
done
DIR=$(mktemp -d -t selfdistill-slurm.XXXXXX)
trap 'status=$?; stop; exit $status' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start
"$@"
