#!/usr/bin/env bash
# Three members on this machine, to look at and to break. Ctrl-C ends them and leaves nothing.
#
#   deploy/dev/demo.sh              runs until Ctrl-C
#   deploy/dev/demo.sh --failover   kills the primary under an insert load, prints the gap, and ends
#   deploy/dev/demo.sh --clean      ends what a killed demo left, and removes its directory
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=deploy/dev/progress.sh
. "$here/progress.sh"
# shellcheck source=deploy/dev/parent.sh
. "$here/parent.sh"
# shellcheck source=deploy/dev/members.sh
. "$here/members.sh"

# shellcheck source=deploy/dev/introduce.sh
. "$here/introduce.sh"

# Where every account may enter, and short: a unix socket's path may have 107 bytes.
directory=/tmp/pgha-demo-$(id -u)

say() { printf 'demo: %s\n' "$*"; }
fail() {
    printf 'demo: %s\n' "$@" >&2
    exit 1
}

# As fail, where the logs of the members tell why. They stay until the next demo.
give_up() {
    local log
    tick_end
    keep=yes
    for log in "$directory"/n?.log; do
        printf -- '---- %s, last lines:\n' "$log" >&2
        tail -n 5 "$log" >&2
    done
    fail "$1" "the logs are kept: $directory/n?.log"
}

# One demo per user at a time: the directory is its lock. It belongs to the caller, also where the
# members run as another account, so that nobody else can put a link into it.
claim_directory() {
    mkdir -m 711 "$directory" 2>/dev/null || true
    if [ -L "$directory" ] || [ ! -d "$directory" ] || [ ! -O "$directory" ]; then
        fail "$directory is not a directory of this user: move it away"
    fi
    exec 9<"$directory"
    if ! flock -n 9; then
        local other
        other=$(cat "$directory/demo.pid" 2>/dev/null || echo unknown)
        fail "a demo of this user already runs (process $other, directory $directory)" \
            "end it with Ctrl-C in its terminal, or: kill $other"
    fi
    # The demo that had the lock until now has removed what was locked.
    [ "$directory" -ef /proc/self/fd/9 ] || fail "another demo has just ended: run this again"
    claimed=yes
}

# Empties the directory, whatever was in it.
clear_directory() {
    local left
    left=$(left_over)
    if [ -n "$left" ]; then
        say "ending what a killed demo left: $(wc -w <<<"$left") processes"
        end_members || fail "these processes cannot be ended: $(left_over)"
    fi
    empty_directory
}

empty_directory() {
    with_progress "removing what is in $directory" find "$directory" -mindepth 1 -delete
}

clean() {
    if [ ! -e "$directory" ] && [ -z "$(left_over)" ]; then
        say "there is nothing to clean"
        return
    fi
    claim_directory
    clear_directory
    rmdir "$directory"
    say "$directory is removed, nothing of it runs"
}

# PostgreSQL and pgha refuse root. The caller's own PGHA_ and PG variables are not for the members.
choose_account() {
    account=(env -i "PATH=$PATH" "HOME=$directory" LC_ALL=C.UTF-8)
    [ "$(id -u)" -eq 0 ] || return 0
    id postgres >/dev/null 2>&1 ||
        fail "PostgreSQL refuses root, and there is no user postgres to run it: adduser --system --group postgres"
    account+=(setpriv --reuid=postgres --regid=postgres --init-groups)
    say "PostgreSQL refuses root: the members run as the user postgres"
}

# A session of its own, so that whatever ends the demo ends all of it, and at once.
in_session() {
    local status=0
    setsid "$@" 9<&- &
    session=$!
    while kill -0 "$session" 2>/dev/null; do
        heed_parent
        pause 0.2
    done
    wait "$session" || status=$?
    session=
    return "$status"
}

build() {
    local built
    in_session cargo build --workspace --bins --locked || fail "the build failed, see above"
    built=$(cargo metadata --format-version 1 --no-deps --locked 9<&- |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
    pgha=$built/pgha ctl=$built/pgha-ctl bench=$built/pgha-bench
    # A checkout below /root is closed to the account of the members.
    if ! "${account[@]}" test -x "$pgha"; then
        cp "$pgha" "$directory/pgha"
        pgha=$directory/pgha
    fi
}

prepare() {
    local i
    (
        umask 077
        od -An -N 9 -tx1 /dev/urandom | tr -d ' \n' >"$directory/password"
        for i in "${members[@]}"; do
            mkdir "$directory/n$i"
        done
    )
    [ "$(id -u)" -ne 0 ] || chown postgres: "$directory/password" "$directory"/n[123]
}

show_failover() {
    echo
    in_session "$bench" failover --ctl "$ctl" --endpoints "$(addresses 7400)" \
        --ports "$(addresses 6500 yes)" --password-file "$directory/password" --directory "$directory" ||
        give_up "the failover did not go as it should, see above"
    echo
    restart_fallen
    wait_healthy
    echo
    status status
    echo
}

# Runs once, however the demo ends. What signals come now only make it hurry.
finish() {
    local status=$?
    trap - EXIT
    trap 'hurry=yes' INT TERM HUP
    trap '' PIPE
    set +e
    stop_ticking
    # Without the lock the directory is somebody else's.
    [ -n "${claimed:-}" ] || exit "$status"
    # Waited for, else bash announces its death.
    [ -z "${session:-}" ] || { kill -KILL -- "-$session" && wait "$session"; } 2>/dev/null
    [ -z "${napping:-}" ] || kill "$napping" 2>/dev/null
    tick_end
    [ "${#pid_of[@]}" -eq 0 ] || say "ending the members"
    if ! end_members; then
        say "these processes cannot be ended: $(left_over)" >&2
        exit 1
    fi
    if [ -z "${keep:-}" ]; then
        empty_directory
        rmdir "$directory"
    fi
    [ "${#pid_of[@]}" -eq 0 ] || say "ended, nothing runs any more"
    exit "$status"
}

run() {
    local i
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
    claim_directory
    clear_directory
    echo $$ >"$directory/demo.pid"
    "$here/install.sh" demo 9<&-
    choose_account
    cd "$here/../.."
    build
    choose_ports
    prepare
    say "starting three members in $directory"
    for i in "${members[@]}"; do
        start "$i"
    done
    wait_healthy
    introduce
    if [ -n "${failover:-}" ]; then
        show_failover
        return
    fi
    suggest
    # From here on Ctrl-C is how a demo ends that went well.
    trap 'exit 0' INT
    while :; do
        pause 1
        heed_parent
        restart_fallen
    done
}

case "${1:-}" in
"") run ;;
--failover) failover=yes run ;;
--clean) clean ;;
*)
    say "unknown argument $1: expected --failover, --clean or none" >&2
    exit 2
    ;;
esac
