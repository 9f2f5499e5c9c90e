#!/usr/bin/env bash
# Installs what building, testing, measuring or the demo need on Debian and Ubuntu, and says so
# before it does. Silent and without any change when nothing is missing.
#
#   deploy/dev/install.sh [build|demo|test|bench]      (default: test)
#   deploy/dev/install.sh --packages NAME...           as root: only installs these, as above
set -euo pipefail

self=$(readlink -f "$0")
# shellcheck source=deploy/dev/progress.sh
. "$(dirname "$self")/progress.sh"

purpose=${1:-test}
rust_min=1.90.0
policy=/usr/sbin/policy-rc.d
policy_mark='# Written by pgha while it installs packages; may be removed.'
drop_in=/etc/postgresql-common/createcluster.d/pgha-no-main-cluster.conf

say() { printf 'install: %s\n' "$*"; }
fail() {
    printf 'install: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

have_postgresql() {
    local bin
    for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin "$(dirname "$(command -v initdb || echo /none/x)")"; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && [ -x "$bin/pg_rewind" ]; then
            return 0
        fi
    done
    return 1
}

have_faketime() {
    local library
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1; do
        [ -e "$library" ] && return 0
    done
    return 1
}

# One line per missing package: `package reason`.
missing() {
    have cc || echo "build-essential the C compiler and linker that Rust calls"
    [ "$purpose" = build ] && return
    have_postgresql || echo "postgresql the server that pgha runs (no cluster of its own, nothing is started)"
    have psql || echo "postgresql-client psql"
    have ss || echo "iproute2 ip and ss"
    have setpriv || echo "util-linux setpriv and nsenter"
    [ "$purpose" = demo ] && return
    have openssl || echo "openssl certificates of the tests"
    have nft || echo "nftables cuts links between network namespaces"
    have strace || echo "strace stalls the disk of one process"
    have_faketime || echo "libfaketime sets the wall clock of one process"
    [ "$purpose" = bench ] || return 0
    have haproxy || echo "haproxy what the bench compares the ports with (not started as a service)"
}

# Without this Debian's package creates a cluster `main` and starts it on port 5432.
forbid_main_cluster() {
    [ -e "$drop_in" ] && return
    say "creating $drop_in (create_main_cluster = false)"
    mkdir -p "$(dirname "$drop_in")"
    printf '%s\n' '# Written by pgha: installing PostgreSQL creates and starts no cluster.' \
        'create_main_cluster = false' >"$drop_in"
}

# Packages start their services when installed; a policy of 101 forbids it (Debian policy 9.3.3).
# One of ours that is there already was left by an installation that was killed.
forbid_service_starts() {
    if [ -e "$policy" ] && ! grep -qxF "$policy_mark" "$policy"; then
        return
    fi
    trap 'stop_ticking; rm -f "$policy"' EXIT
    printf '%s\n' '#!/bin/sh' "$policy_mark" 'exit 101' >"$policy"
    chmod 755 "$policy"
}

install_packages() {
    [ "$(id -u)" -eq 0 ] || fail "--packages needs root"
    [ "$#" -gt 0 ] || fail "--packages needs the names of packages"
    # Ubuntu's needrestart would restart the services of this machine after it.
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    local lock=(-o DPkg::Lock::Timeout=120)
    # One dead repository among many need not be the one that has these packages.
    with_progress "apt-get update" apt-get "${lock[@]}" update -q ||
        say "apt-get update failed, its last lines are above; going on with the lists that are here"
    case " $* " in
    *" postgresql "*) forbid_main_cluster ;;
    esac
    forbid_service_starts
    with_progress "apt-get install $*" \
        apt-get "${lock[@]}" install -y -q --no-install-recommends "$@" ||
        fail "apt-get install failed, its last lines are above; not installed: $*"
    say "done"
}

# Cargo of an account is not in root's path, so this is asked before anybody becomes root.
require_rust() {
    local version
    if ! have cargo; then
        [ -z "${SUDO_USER:-}" ] || fail "no cargo in root's PATH: run this without sudo, it calls sudo itself"
        fail "no cargo in PATH: install Rust ${rust_min%.0} or newer (https://rustup.rs), then run this again"
    fi
    version=$(cargo --version | cut -d' ' -f2) || fail "cargo does not run, see above"
    printf '%s\n' "$rust_min" "$version" | sort -V -C ||
        fail "cargo is $version, needed is ${rust_min%.0} or newer: rustup update stable, or https://rustup.rs"
}

become_root_and_install() {
    if [ "$(id -u)" -eq 0 ]; then
        install_packages "$@"
    elif have sudo; then
        say "installing packages needs root: calling sudo"
        sudo -- bash "$self" --packages "$@" ||
            fail "not installed: $*" "as root, run: $self --packages $*"
    else
        fail "this user cannot install packages, and there is no sudo" \
            "as root, run: $self --packages $*" "then run this again as $(id -un)"
    fi
}

main() {
    case "$purpose" in
    build | demo | test | bench) ;;
    --packages)
        shift
        install_packages "$@"
        exit
        ;;
    *)
        say "unknown purpose \`$purpose\`: expected build, demo, test or bench" >&2
        exit 2
        ;;
    esac
    require_rust
    local wanted packages
    wanted=$(missing)
    [ -n "$wanted" ] || exit 0
    mapfile -t packages < <(cut -d' ' -f1 <<<"$wanted")
    say "these packages are missing:"
    while read -r package reason; do
        printf '  %s: %s\n' "$package" "$reason"
    done <<<"$wanted"
    have apt-get || fail "this is neither Debian nor Ubuntu: install the like of them, then run this again"
    become_root_and_install "${packages[@]}"
}

main "$@"
