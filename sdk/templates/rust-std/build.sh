#!/usr/bin/env bash
# Builds the plugin of the folder in which this script stands: NAME.wasm, NAME being the folder's, and
# NAME.wasm.debug, by which the server's log tells the lines where it trapped.
#
#   LICTOR  the program `lictor`; found on the path without it
#
# Needs rustup as well.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
name=$(basename -- "$PWD")
# What an earlier build made is not to be taken for what this one makes.
rm -f "$name.wasm" "$name.wasm.debug"

if command -v rustup > /dev/null && ! rustup target list --installed | grep -qx wasm32-wasip2; then
    rustup target add wasm32-wasip2
fi
cargo build --release --target wasm32-wasip2
target=${CARGO_TARGET_DIR:-target}
# As Cargo.toml calls the package.
package=$(sed -n '/^name *= *"/{ s/^[^"]*"//; s/".*//; s/-/_/g; p; q; }' Cargo.toml)
"${LICTOR:-lictor}" plugin componentize "$target/wasm32-wasip2/release/$package.wasm" -o "$name.wasm"
