#!/usr/bin/env bash
# What the GitHub Action runs: `crawler check` with annotations, a summary of the job, and a SARIF log where one is asked
# for. The words come by the environment: PATHS and ARGUMENTS one a line, DATABASE, SARIF.
set -u

words() { # the lines of "$1" that are not empty, into the array `read_words`
    read_words=()
    while IFS= read -r word; do
        [ -n "$word" ] && read_words+=("$word")
    done <<<"$1"
    return 0
}

words "$PATHS"
paths=(${read_words[@]+"${read_words[@]}"})
words "$ARGUMENTS"
more=(${read_words[@]+"${read_words[@]}"})
# without a path it would read standard input, where nothing is; node groups need none
case "${#paths[@]}  ${more[*]+"${more[*]}"} " in
"0 "*" --live "*) ;;
"0 "*) paths=(.) ;;
esac

# an address may hold a password, and everybody can read the words of a program
configuration=$(mktemp)
trap 'rm -f "$configuration"' EXIT
printf 'database = "${CRAWLER_CHECK_DATABASE}"\n' >"$configuration"
case $DATABASE in
*://* | /*) export CRAWLER_CHECK_DATABASE=$DATABASE ;;
*) export CRAWLER_CHECK_DATABASE=$PWD/$DATABASE ;;
esac

check() { crawler --config "$configuration" check ${more[@]+"${more[@]}"} "$@" -- ${paths[@]+"${paths[@]}"}; }

check -o github
code=$?
[ -n "${GITHUB_STEP_SUMMARY:-}" ] && check -o markdown >>"$GITHUB_STEP_SUMMARY" 2>/dev/null
[ -n "$SARIF" ] && check -o sarif >"$SARIF" 2>/dev/null
[ -n "${GITHUB_OUTPUT:-}" ] && printf 'exit-code=%s\n' "$code" >>"$GITHUB_OUTPUT"
exit "$code"
