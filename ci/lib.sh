# What every script here shares; sourced, never run.
# shellcheck shell=bash

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for those who source this
target=$project/target

say() { printf '== %s\n' "$*" >&2; }

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Runs a chatty command; its output is worth reading only when it fails.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "failed: $*"
    fi
    rm -f "$log"
}

# One maker at a time for one output: people and tests share the target folder.
# Lock files stay behind on purpose; removing one would let two makers in.
with_lock() {
    local output=$1
    shift
    mkdir -p "$(dirname "$output")"
    (
        flock 9
        "$@"
    ) 9>"$output.lock"
}

# This machine's Debian sources, said for another suite. On a machine that isn't Debian: nothing,
# and mmdebstrap takes its default.
apt_sources() {
    local suite=$1
    (
        . /etc/os-release
        [ "${ID:-}" = debian ] || exit 0
        # shellcheck disable=SC2016 # apt's placeholders, not ours
        apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
            sort -u |
            sed -nE "s/^([^ ]+) $VERSION_CODENAME(|-updates|-security) main\$/deb \1 $suite\2 main/p"
    )
}
