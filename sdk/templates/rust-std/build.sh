#!/usr/bin/env bash
# Builds {{name}}.wasm. Needs rustup, and nothing else.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
rm -f "{{name}}.wasm"    # where a build fails, none is there

if command -v rustup > /dev/null && ! rustup target list --installed | grep -qx wasm32-wasip2; then
    rustup target add wasm32-wasip2
fi
cargo build --release --target wasm32-wasip2
target=${CARGO_TARGET_DIR:-target}
cp "$target/wasm32-wasip2/release/{{ident}}.wasm" "{{name}}.wasm"
