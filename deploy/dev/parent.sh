# shellcheck shell=bash
# Sourced. GNU make passes SIGTERM on to its recipe, but of a SIGHUP or SIGINT that only make got (a
# connection that broke where make leads the session) the recipe hears nothing, and make waits for
# it. What shows is that make no longer catches these signals.

# The signals that the parent catches, as in /proc; nothing where it is not make, or gone.
caught_by_make() {
    local name key value
    { read -r name <"/proc/$PPID/comm"; } 2>/dev/null || return 0
    case $name in
    make | gmake) ;;
    *) return 0 ;;
    esac
    while read -r key value; do
        [ "$key" != SigCgt: ] || caught=$value
    done 2>/dev/null <"/proc/$PPID/status"
}

caught=
caught_by_make
caught_at_start=$caught

# Ends the demo where make was told to end, or is gone.
heed_parent() {
    [ -n "$caught_at_start" ] || return 0
    caught=
    caught_by_make
    [ "$caught" = "$caught_at_start" ] || exit 129
}
