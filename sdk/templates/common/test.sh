#!/usr/bin/env bash
# Builds this plugin, and runs the calls in test.toml without a server.
#
#   LICTOR        path of the program `lictor`; by default it is found on the path
#   LICTOR_BUILT  if set, build.sh is not run again
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
[ -n "${LICTOR_BUILT:-}" ] || ./build.sh
# The project's own tests, which need no component.
if tests=$(compgen -G "*.test.[jt]s"); then node --test --test-reporter=spec $tests; fi
if compgen -G "test_*.py" >/dev/null; then "${PYTHON:-python3}" -m unittest; fi
if [ -f Cargo.toml ]; then cargo test --quiet; fi
"${LICTOR:-lictor}" plugin run "$(basename -- "$PWD").wasm" --script test.toml
