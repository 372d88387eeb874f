#!/usr/bin/env bash
# Builds {{name}}.wasm. Needs rustup, and nothing else.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
rm -f "{{name}}.wasm"    # where a build fails, none is there

if command -v rustup > /dev/null && ! rustup target list --installed | grep -qx wasm32-unknown-unknown; then
    rustup target add wasm32-unknown-unknown
fi
# What an earlier build made is not to be taken for what this one makes.
rm -f "{{name}}.wasm"
cargo build --release --target wasm32-unknown-unknown
target=${CARGO_TARGET_DIR:-target}
cp "$target/wasm32-unknown-unknown/release/{{ident}}.wasm" "{{name}}.wasm"
