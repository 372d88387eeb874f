#!/usr/bin/env bash
# Builds this plugin, and runs the calls of test.toml without a server.
#
#   LICTOR        the program `lictor`; found on the path without it
#   LICTOR_BUILT  where it is set, what build.sh made is taken as it is
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
[ -n "${LICTOR_BUILT:-}" ] || ./build.sh
# Its own tests, which need no component.
if tests=$(compgen -G "*.test.[jt]s"); then node --test --test-reporter=spec $tests; fi
if compgen -G "test_*.py" >/dev/null; then "${PYTHON:-python3}" -m unittest; fi
if [ -f Cargo.toml ]; then cargo test --quiet; fi
"${LICTOR:-lictor}" plugin run "$(basename -- "$PWD").wasm" --script test.toml
