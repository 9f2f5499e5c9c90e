# shellcheck shell=bash disable=SC2154
# Sourced by demo.sh. What is told about the members once they are healthy.

# The state, and how to connect.
introduce() {
    local password
    password=$(<"$directory/password")
    echo
    status status
    cat <<TEXT

Connect (password $password, also in $directory/password):
  to the primary, through any member's read-write port
    psql 'postgresql://postgres:$password@$(addresses 6500)/postgres'
  to a replica, through any member's read-only port
    psql 'postgresql://postgres:$password@$(addresses 6600)/postgres'
TEXT
}

# What to try. Whole paths: the reader's other terminal is somewhere else.
suggest() {
    local primary whose=
    primary=$(status --output yaml status | sed -n 's/^primary: //p')
    [ "$(id -u)" -ne 0 ] || whose=', as root'
    cat <<TEXT

Try, in another terminal$whose:
  export PGHA_ENDPOINTS=$(addresses 7400)
  alias pgha-ctl=$ctl
  watch what happens
    pgha-ctl status --watch
  kill PostgreSQL of $primary, the primary
    kill -9 \$(head -n 1 $directory/$primary/postgres/postmaster.pid)
  ask why the primary changed
    pgha-ctl explain
  change it as planned, to the best replica
    pgha-ctl switchover --yes
  kill a sidecar
    kill -9 \$(cat $directory/$primary/run/pgha.pid)
Logs: $directory/n1.log, n2.log, n3.log

Ctrl-C ends the demo and removes $directory.
TEXT
}
