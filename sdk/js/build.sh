#!/usr/bin/env bash
# Builds the plugin of the folder in which this script stands, from plugin.js: NAME.wasm, NAME being the folder's.
#
#   LICTOR_TOOLS  folder into which tools are put, and found again; `.tools` beside this script without it
#   LICTOR_WIT    the WIT package whose world the plugin has; `wit` beside this script without it
set -euo pipefail

version=0.4.5 # of componentize-qjs
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tools="${LICTOR_TOOLS:-$here/.tools}/componentize-qjs-$version"
name=$(basename -- "$here")

if [ ! -e "$tools/installed" ]; then
  echo "installing componentize-qjs $version into $tools" >&2
  npm install --prefix "$tools" --no-save --no-fund --no-audit --loglevel=error "componentize-qjs@$version" >&2
  touch "$tools/installed"
fi

# Without --stub-wasi: it would put traps into the place of all that begins with `wasi:`, wasi:config and
# wasi:keyvalue among them, and of the clock. Without --minify, so that the log has the lines of errors.
"$tools/node_modules/.bin/componentize-qjs" --sync --opt-size \
  --wit "${LICTOR_WIT:-$here/wit}" --js "$here/plugin.js" --module-root "$here" --output "$here/$name.wasm" >&2
