#!/usr/bin/env bash
# Builds the plugin in this script's folder: NAME.wasm, named after the folder, and NAME.wasm.debug, which the
# server uses to log the source lines of a trap.
#
#   LICTOR  path of the program `lictor`; by default it is found on the path
#
# Also needs rustup.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
name=$(basename -- "$PWD")
# Remove the output of earlier builds, so that it cannot pass for this one's.
rm -f "$name.wasm" "$name.wasm.debug"

if command -v rustup > /dev/null && ! rustup target list --installed | grep -qx wasm32-unknown-unknown; then
    rustup target add wasm32-unknown-unknown
fi
cargo build --release --target wasm32-unknown-unknown
target=${CARGO_TARGET_DIR:-target}
# The package's name in Cargo.toml.
package=$(sed -n '/^name *= *"/{ s/^[^"]*"//; s/".*//; s/-/_/g; p; q; }' Cargo.toml)
"${LICTOR:-lictor}" plugin componentize "$target/wasm32-unknown-unknown/release/$package.wasm" -o "$name.wasm"
