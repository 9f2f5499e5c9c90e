# shellcheck shell=bash disable=SC2154
# Sourced by demo.sh. The three members: their ports, starting, health, ending, and what is left of
# them. Uses $directory, $pgha, $ctl, $account, say, give_up and heed_parent.

members=(1 2 3)
healthy_within=90
declare -A pid_of=() started_at=() short_lives=()

# The ports of the README's tour, or all of them a multiple of ten higher where one is taken:
# whoever has a port keeps it.
choose_ports() {
    local taken base i
    taken=" $(ss -Hltn | awk '{ sub(/.*:/, "", $4); printf "%s ", $4 }')"
    for offset in 0 10 20 30 40 50 60 70 80 90; do
        for base in 7400 8100 6500 6600 5500; do
            for i in "${members[@]}"; do
                [[ $taken != *" $((base + offset + i)) "* ]] || continue 3
            done
        done
        ((offset == 0)) || say "a usual port is taken and left alone: all ports are $offset higher than usual"
        return 0
    done
    fail "too many ports from 5500, 6500, 6600, 7400 or 8100 on are taken: \`ss -ltnp\` shows by whom"
}

# addresses BASE [yes]: the members' addresses, separated by commas; with their names if asked.
addresses() {
    local i list=
    for i in "${members[@]}"; do
        list+=",${2:+n$i=}127.0.0.1:$(($1 + offset + i))"
    done
    printf '%s' "${list#,}"
}

# start NUMBER: a sidecar that ends in order should this script be killed. In a session of its own,
# since Ctrl-C is for this script, which then ends the sidecar.
start() {
    local name=n$1 at=$((offset + $1))
    setsid "${account[@]}" setpriv --pdeathsig TERM "$pgha" run --cluster demo --name "$name" \
        --peers "$(addresses 7400 yes)" --data-dir "$directory/$name" \
        --listen "127.0.0.1:$((7400 + at))" --http-listen "127.0.0.1:$((8100 + at))" \
        --proxy-rw "127.0.0.1:$((6500 + at))" --proxy-ro "127.0.0.1:$((6600 + at))" \
        --pg-listen "127.0.0.1:$((5500 + at))" \
        --pg-superuser-password-file "$directory/password" \
        </dev/null >>"$directory/$name.log" 2>&1 9<&- &
    pid_of[$1]=$!
    started_at[$1]=$SECONDS
    # Else bash itself announces its death, with the whole command line.
    disown "$!"
}

# Starts again what has ended, as a service manager would; but not for ever what cannot start.
restart_fallen() {
    local i
    for i in "${members[@]}"; do
        ! kill -0 "${pid_of[$i]}" 2>/dev/null || continue
        if ((SECONDS - started_at[$i] >= 5)); then
            short_lives[$i]=0
        elif ((++short_lives[$i] == 3)); then
            give_up "n$i ended three times right after its start"
        fi
        tick_end
        say "the sidecar of n$i has ended: starting it again, as a service manager would"
        start "$i"
    done
}

status() { "$ctl" --endpoint "$(addresses 7400)" --timeout 3 "$@" 9<&-; }

# What docs/cli.md shows of a cluster in which all is well.
healthy() {
    local told wanted
    told=$(status --output yaml status 2>/dev/null) || return 1
    wanted='quorum: true|primary: n[123]|  state: (running|streaming)|  - n[123]|  learners: \[\]'
    # Quorum, primary, three states, three voters, no learner.
    [ "$(grep -cxE "$wanted" <<<"$told")" -eq 9 ]
}

# The members with their states, from the table, in one line.
states() {
    status status 2>/dev/null |
        awk 'NF == 0 { body = 0 } body { line = line ", " $1 " " $3 } $1 == "MEMBER" { body = 1 }
             END { print substr(line, 3) }'
}

wait_healthy() {
    local started=$SECONDS told
    until healthy; do
        heed_parent
        restart_fallen
        told=$(states) || told=
        ((SECONDS - started < healthy_within)) ||
            give_up "not healthy after $healthy_within s: ${told:-nobody answers}"
        ((SECONDS - started < 2)) || tick $((SECONDS - started)) "${told:-the members are forming a cluster}"
        pause 0.3
    done
    tick_end
    say "healthy after $((SECONDS - started)) s"
}

# The members' processes by pid, whoever their parent is now. Names are compared too: a shell, an
# editor or a pager in that directory is not ours to end.
left_over() {
    local path name at
    local -a words
    for path in /proc/[0-9]*; do
        { read -r name <"$path/comm"; } 2>/dev/null || continue
        case $name in
        pgha | postgres | initdb | pg_*) ;;
        *) continue ;;
        esac
        { mapfile -d '' -t words <"$path/cmdline"; } 2>/dev/null || continue
        # A zombie has ended: it has no words left.
        [ "${#words[@]}" -gt 0 ] || continue
        at=$(readlink "$path/cwd" 2>/dev/null) || at=
        case " ${words[*]} $at " in
        *" $directory"/n[123][/\ ]*) printf '%s ' "${path#/proc/}" ;;
        esac
    done
}

# Asks; kills what is not gone soon, since the data is thrown away with it. Fails where something
# survives.
end_members() {
    local started=$SECONDS left
    [ "${#pid_of[@]}" -eq 0 ] || kill -TERM "${pid_of[@]}" 2>/dev/null || true
    while left=$(left_over) && [ -n "$left" ]; do
        ((SECONDS - started < 20)) || return 1
        if [ "${#pid_of[@]}" -eq 0 ] || [ -n "${hurry:-}" ] || ((SECONDS - started >= 4)); then
            # shellcheck disable=SC2086
            kill -KILL $left 2>/dev/null || true
        fi
        ((SECONDS - started < 2)) || tick $((SECONDS - started)) "ending $(wc -w <<<"$left") processes"
        pause 0.1
    done
    tick_end
}
