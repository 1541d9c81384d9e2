#!/usr/bin/env bash
# Clone what is committed into an empty folder and run both README commands there, as on a fresh
# machine: on the path are python3, git, gcc, make and the shell's basic tools; home and caches are
# empty. Prints time and size of each step. The package index is the one that pip is set to.
#   FRESH=folder            where (default: a new temporary folder, removed at the end)
#   STEPS="install demo test"  what to do
#   PYTHON3=/path/python3   which Python (default: the first on the path)
set -euo pipefail

readonly TOOLS="git gcc cc make as ld bash sh env cat cp mv rm ln ls mkdir rmdir mktemp touch chmod
  dirname basename readlink uname date printf sleep head tail cut sort tr wc grep sed du df id tee
  kill ps nproc hostname which"
readonly STEPS=${STEPS:-install demo test}

origin=$(git -C "$(dirname "$0")/.." rev-parse --show-toplevel)
place=${FRESH:-$(mktemp -d)}
mkdir -p "$place"
if [ -n "$(ls -A "$place")" ]; then
    echo "fresh_machine: $place: expected an empty folder, found files: choose another FRESH" >&2
    exit 1
fi
[ -n "${FRESH:-}" ] || trap 'rm -rf "$place"' EXIT
place=$(cd "$place" && pwd)
mkdir "$place/bin" "$place/home" "$place/tmp"
for tool in $TOOLS; do
    found=$(type -P "$tool") && ln -s "$found" "$place/bin/$tool"
done
ln -s "$(readlink -f "${PYTHON3:-$(type -P python3)}")" "$place/bin/python3"

# What a machine needs to reach its package index, and nothing else of this environment.
passed=()
for name in $(compgen -e); do
    case $name in
        PIP_* | *_proxy | *_PROXY | SSL_CERT_FILE | REQUESTS_CA_BUNDLE) passed+=("$name=${!name}") ;;
    esac
done
fresh() {
    (cd "$place/checkout" && env -i HOME="$place/home" TMPDIR="$place/tmp" PATH="$place/bin" \
        LANG=C.UTF-8 "${passed[@]}" PIP_CACHE_DIR="$place/home/.cache/pip" "$@")
}
size() {
    if [ -e "$1" ]; then du -sm "$1" | cut -f1; else echo 0; fi
}

git clone --quiet "file://$origin" "$place/checkout"
echo "revision $(git -C "$place/checkout" rev-parse --short HEAD), $("$place/bin/python3" -V), $(nproc) cores"
echo "| step | seconds | .venv [MiB] | products [MiB] | caches [MiB] |"
echo "|---|---|---|---|---|"
for step in $STEPS; do
    case $step in
        install) command=(make .venv/.demo) ;;
        *) command=(make "$step") ;;
    esac
    started=$SECONDS
    if ! fresh "${command[@]}" >"$place/$step.log" 2>&1; then
        tail -n 30 "$place/$step.log" >&2
        [ -z "${FRESH:-}" ] || echo "fresh_machine: the whole log: $place/$step.log" >&2
        echo "fresh_machine: make $step failed after $((SECONDS - started)) s" >&2
        exit 1
    fi
    echo "| $step | $((SECONDS - started)) | $(size "$place/checkout/.venv") |" \
        "$(size "$place/checkout/runs") | $(size "$place/home/.cache") |"
done
