#!/usr/bin/env bash
# Breaks one rule of the shipped code after the other, in a copy of it, and looks whether a test sees
# that; then the rules that the simulator and the model check break by themselves. Prints who caught
# what. Exit code 1 if anybody got away.
#
#   deploy/dev/mutants.sh [PART OF A NAME]      (default: all of them)
#
# A mutant is a patch in chaos-tests/mutants. Its first lines say which rule it breaks, which commands
# have to fail because of it, each of its own layer, and what has to be built before; each command passes
# without the patch, which is looked at first.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
only=${1:-}
work=$root/target/mutants
tree=$work/tree
log=$work/log
table=$work/table
limit_s=600

export CARGO_TARGET_DIR=$work/build CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never

say() { printf 'mutants: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 2
}

# The tracked files as they are. One that is the same in the copy already is left alone, and one that
# is not gets the time of now: to cargo an older time would be a file that was built long ago, and what
# it built last may be a mutant.
copy_tree() {
    command -v git >/dev/null || fail "git is missing: it copies the tree and applies the patches"
    local file
    mkdir -p "$tree" "$log"
    [ -e "$tree/.git" ] || git -C "$tree" init -q
    (cd "$tree" && find . -path ./.git -prune -o -type f -printf '%P\n') | while IFS= read -r file; do
        [ -e "$root/$file" ] || rm -f "${tree:?}/$file"
    done
    git -C "$root" ls-files | while IFS= read -r file; do
        if [ -f "$root/$file" ] && ! cmp -s "$root/$file" "$tree/$file"; then
            mkdir -p "$(dirname "$tree/$file")"
            cp "$root/$file" "$tree/$file"
        fi
    done
    git -C "$tree" add -A
}

# header KEY PATCH: what the patch says behind `KEY: `, a line for each.
header() { sed -n "s/^$1: //p;/^diff /q" "$2"; }

# layer_of COMMAND: which kind of test that is.
layer_of() {
    case $1 in
        *"-p pgha-sim --test model"*) echo model ;;
        *"-p pgha-sim"*) echo simulator ;;
        *"-p pgha-chaos"*) echo chaos ;;
        *--lib*) echo unit ;;
        *) echo integration ;;
    esac
}

# in_tree LOG COMMAND...: runs a cargo command in the copy, with a limit.
in_tree() {
    local to=$1
    shift
    (cd "$tree" && timeout --kill-after=10 "$limit_s" "$@") >"$to" 2>&1
}

# row NAME LAYER CAUGHT_BY SECONDS RULE
row() { printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$table"; }

# run LOG COMMAND [OPTION]: a cargo command in one string.
run() {
    local to=$1 command=$2
    shift 2
    # shellcheck disable=SC2086 # words on purpose
    in_tree "$to" ${command/#cargo test/cargo test --locked $*}
}

# What `works_unmutated` found, by command.
declare -A works=()

# works_unmutated COMMAND BEFORE: without a mutant the command passes, and runs at least one test.
works_unmutated() {
    local command=$1 before=$2 to
    if [ -z "${works[$command]:-}" ]; then
        to=$log/unmutated-${#works[@]}
        works[$command]=no
        say "without any mutant: $command"
        if { [ -z "$before" ] || run "$to" "$before"; } && run "$to" "$command" &&
            grep -q '^test .* ok$' "$to"; then
            works[$command]=yes
        fi
    fi
    [ "${works[$command]}" = yes ]
}

# judge PATCH: applies it and says in `by` who saw it, or why nobody could.
judge() {
    local patch=$1 to=$2 before=$3 command=$4 code=0
    by="ERROR: the test does not pass without it"
    works_unmutated "$command" "$before" || return 0
    by="ERROR: the patch no longer applies"
    git -C "$tree" apply --whitespace=nowarn "$patch" 2>"$to" || return 0
    by="ERROR: it does not compile"
    { [ -z "$before" ] || run "$to" "$before"; } && run "$to" "$command" --no-run || return 0
    started=$SECONDS
    by="NOT CAUGHT"
    run "$to" "$command" || code=$?
    [ "$code" -ne 0 ] || return 0
    by=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$to" | sort | sed -n 1p)
    [ -z "$by" ] || return 0
    case $code in
        # What `timeout` says of a command that it had to end.
        124 | 137) by="a limit of $limit_s s" ;;
        *) by="ERROR: exit code $code without a failed test" ;;
    esac
}

run_mutant() {
    local patch=$1 name rule command commands started by layer
    name=$(basename "$patch" .patch)
    rule=$(header Breaks "$patch")
    mapfile -t commands < <(header Test "$patch")
    [ -n "$rule" ] && [ ${#commands[@]} -gt 0 ] || fail "$patch has no lines \`Breaks:\` and \`Test:\`"
    for command in "${commands[@]}"; do
        layer=$(layer_of "$command")
        say "$name, $layer"
        started=$SECONDS
        judge "$patch" "$log/$name.$layer" "$(header Build "$patch")" "$command"
        row "$name" "$layer" "$by" $((SECONDS - started)) "$rule"
        git -C "$tree" checkout -q -- .
    done
}

# layer NAME PASSED EXPECTED ROWS SECONDS: the last row of a test that breaks rules by itself. Of a rule
# that has no row nobody knows whether it is caught: whatever came between is an error.
layer() {
    local name=$1 passed=$2 expected=$3 rows=$4 by="all of the above"
    [ "$passed" = yes ] || by="ERROR: it failed"
    [ "$rows" = "$expected" ] || by="ERROR: $rows rows of ${expected:-an unknown number}"
    row "($name)" "" "$by" "$5" ""
}

# The rules that the simulator breaks: `Name: seed 6: ...`.
run_simulator() {
    local command="cargo test -p pgha-sim --test seeds a_rule_broken_on_purpose_is_seen -- --nocapture"
    local to=$log/simulator started=$SECONDS passed=yes rows=0 expected name failure
    expected=$(sed -n 's/^ *pub const ALL: \[Self; \([0-9]*\)\].*/\1/p' "$tree/crates/pgha-sim/src/mutant.rs")
    say "the simulator's mutants"
    run "$to" "$command" || passed=no
    [ "$passed" = yes ] || say "the simulator's test failed (see $to)"
    while read -r name failure; do
        row "${name%:}" simulator "$failure" - ""
        rows=$((rows + 1))
    done < <(sed 's/^test [a-z_]* \.\.\. //' "$to" | grep -E '^[A-Za-z]+: seed [0-9]+: ')
    layer "the simulator" "$passed" "$expected" "$rows" $((SECONDS - started))
}

# The rules that the model check breaks: `MODEL name: caught by property after 7 states in 1 s`.
run_model() {
    local to=$log/model started=$SECONDS passed=yes rows=0 expected name found
    # One line for each of them.
    expected=$(cat "$tree"/crates/pgha-sim/tests/model/{main,sync/tests}.rs | grep -cE '^ +(breaks|caught)\(' || true)
    say "the model's naive rules"
    run "$to" "cargo test -p pgha-sim --test model -- --nocapture" || passed=no
    [ "$passed" = yes ] || say "the model check failed (see $to)"
    # Other lines of it tell of the rules that hold.
    while IFS= read -r found; do
        name=${found#*MODEL }
        name=${name%%: caught by *}
        row "$name" model "${found#*: caught by }" - ""
        rows=$((rows + 1))
    done < <(grep 'MODEL .*: caught by ' "$to")
    while IFS= read -r found; do
        row "${found%% is not caught in *}" model "NOT CAUGHT" - "${found#* is not caught in }"
        rows=$((rows + 1))
    done < <(grep -v '^thread ' "$to" | grep ' is not caught in ')
    layer "the model check" "$passed" "$expected" "$rows" $((SECONDS - started))
}

print_table() {
    {
        printf 'mutant\tlayer\tcaught by\tseconds\trule\n'
        cat "$table"
    } | awk -F '\t' '{ printf "%-42.42s | %-11s | %-76.76s | %7s | %s\n", $1, $2, $3, $4, $5 }'
}

main() {
    local patch patches=()
    copy_tree
    : >"$table"
    for patch in "$root"/chaos-tests/mutants/*"$only"*.patch; do
        [ -e "$patch" ] && patches+=("$patch")
    done
    for patch in "${patches[@]}"; do
        run_mutant "$patch"
    done
    if [ -z "$only" ]; then
        run_simulator
        run_model
    elif [ ${#patches[@]} -eq 0 ]; then
        fail "no mutant's name has \`$only\` in it"
    fi
    print_table
    if grep -qE $'\t(NOT CAUGHT|ERROR: )' "$table"; then
        say "not caught: $(grep -cE $'\t(NOT CAUGHT|ERROR: )' "$table"); what was run is in $log"
        exit 1
    fi
}

main
exit
