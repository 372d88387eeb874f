#!/usr/bin/env bash
# Builds this plugin, runs its commands without a server, and compares what they reply.
#
#   LICTOR  the program `lictor`; found on the path without it
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
lictor="${LICTOR:-lictor}"
plugin=$(basename -- "$PWD").wasm
failures=0

# replies EXPECTED CMD [ARG]...: the command replies with this text.
replies() {
  local expected=$1 reply
  shift
  reply=$("$lictor" plugin run "$plugin" "$@" 2>build/stderr) || reply="(it failed) $(tail -n 1 build/stderr)"
  compare "$*" "$expected" "$reply"
}

# fails CODE CMD [ARG]...: the command fails with this code.
fails() {
  local code=$1 said
  shift
  if "$lictor" plugin run "$plugin" "$@" >build/stdout 2>build/stderr; then
    said="(it replied) $(cat build/stdout)"
  else
    said=$(grep -o "($code, failed)" build/stderr) || said=$(tail -n 1 build/stderr)
  fi
  compare "$*" "($code, failed)" "$said"
}

compare() {
  if [ "$2" = "$3" ]; then
    echo "ok    $1"
  else
    printf 'FAIL  %s\n  expected: %s\n  got:      %s\n' "$@"
    failures=$((failures + 1))
  fi
}

mkdir -p build
./build.sh

replies "hello world, from dev" {{name}}
replies "hello Ada, from dev" {{name}} Ada
fails bad-arguments {{name}} Ada Grace
fails bad-arguments {{name}} "$(printf '%041d' 0)"

exit "$((failures > 0))"
