# shellcheck shell=bash
# Sourced. A line that shows that something still goes on, and for how long.
# On a terminal the line is overwritten; elsewhere it would fill a log, so it comes rarely.

# The process that `pause` waits for, and the one that `with_progress` has beside it.
napping=
ticking=

# tick SECONDS TEXT: shows how long TEXT has been going on.
tick() {
    if [ -t 2 ]; then
        printf '\r\033[K  %3d s  %s' "$1" "$2" >&2
    elif (($1 % 5 == 2 && $1 != ${ticked:-0})); then
        ticked=$1
        printf '  %3d s  %s\n' "$1" "$2" >&2
    fi
}

# Makes room for the next line.
tick_end() {
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

# A signal is seen at once, because `wait` is interrupted by it. Not `read -t`: bash crashes where a
# trap that interrupts one calls another.
pause() {
    sleep "$1" 9<&- &
    napping=$!
    wait "$napping" || true
    napping=
}

# Prints how long TEXT has been going on, until it is killed or the script is gone. One process
# without a child, so that killing it leaves nothing; without traps, so that it may use `read -t`.
keep_ticking() {
    local started=$SECONDS nothing
    exec {nothing}<> <(:)
    while kill -0 $$ 2>/dev/null; do
        read -r -t 0.5 -u "$nothing" _ || true
        ((SECONDS - started < 2)) || tick $((SECONDS - started)) "$1"
    done
}

stop_ticking() {
    [ -n "$ticking" ] || return 0
    # Not SIGTERM: right after the fork it could still meet this script's own trap. Waited for, else
    # bash announces the death.
    { kill -KILL "$ticking" && wait "$ticking"; } 2>/dev/null || true
    ticking=
    tick_end
}

# with_progress TEXT COMMAND...: runs COMMAND, shows from the third second on that it runs, and its
# output only where it fails. It stays in the foreground: there Ctrl-C reaches it.
with_progress() {
    local text=$1 status=0 path output
    shift
    stop_ticking
    path=$(mktemp)
    exec {output}<>"$path"
    rm "$path"
    keep_ticking "$text" 9<&- &
    ticking=$!
    "$@" >&"$output" 2>&1 || status=$?
    stop_ticking
    [ "$status" -eq 0 ] || tail -n 20 "/proc/self/fd/$output" >&2
    exec {output}>&-
    return "$status"
}
