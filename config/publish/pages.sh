#!/bin/sh
# Commits and pushes what was published into a clone of a repository of pages: `pages.sh /srv/pages`. Without news the
# file that says how old all is goes alone, at most every six hours.
set -eu
cd "$1"

differs() { ! git diff --cached --quiet -- "$@"; }

is_due() {
    newest=$(git log -1 --format=%ct -- v1/freshness.json 2>/dev/null || true)
    [ $(($(date +%s) - ${newest:-0})) -ge 21600 ]
}

git add --all -- . ':!.part'
if differs . ':!v1/freshness.json' || { differs . && is_due; }; then
    git commit --quiet --message 'Publish'
fi
git push --quiet
