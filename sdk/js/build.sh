#!/usr/bin/env bash
# Builds the plugin of the folder in which this script stands, from plugin.js or plugin.ts: NAME.wasm, NAME being the
# folder's.
#
#   LICTOR_TOOLS  folder into which tools are put, and found again; `.tools` beside this script without it
#   LICTOR_WIT    the WIT package whose world the plugin has; `wit` beside this script without it
set -euo pipefail

# Of componentize-qjs, esbuild and core-js-pure.
packages=(componentize-qjs@0.4.5 esbuild@0.28.2 core-js-pure@3.51.0)
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tools="${LICTOR_TOOLS:-$here/.tools}/js-1"
name=$(basename -- "$here")
build="$here/build"

# What an earlier build made is not to be taken for what this one makes.
rm -f "$here/$name.wasm"

if [ ! -e "$tools/installed" ]; then
  echo "installing ${packages[*]} into $tools" >&2
  npm install --prefix "$tools" --no-save --no-fund --no-audit --loglevel=error "${packages[@]}" >&2
  touch "$tools/installed"
fi
# The packages that the plugin itself names.
if grep -qs 'ependencies"' "$here/package.json" && [ ! -e "$here/node_modules" ]; then
  npm install --prefix "$here" --no-fund --no-audit --loglevel=error >&2
fi

mkdir -p "$build"
# `--sync`, but for a plugin whose commands stream.
runtime=$(node "$here/lictor/build.mjs" "$here" "${LICTOR_WIT:-$here/wit}" "$tools" "$build")

# Without --stub-wasi: it would put traps into the place of all that begins with `wasi:`, wasi:config and
# wasi:keyvalue among them, and of the clock. Without --minify, so that the log has the names of functions.
"$tools/node_modules/.bin/componentize-qjs" $runtime --opt-size \
  --wit "$build/wit" --js "$build/plugin.js" --output "$build/new.wasm" >"$build/componentize.log" 2>&1 ||
  { cat "$([ -s "$build/fault.txt" ] && echo "$build/fault.txt" || echo "$build/componentize.log")" >&2; exit 1; }
mv "$build/new.wasm" "$here/$name.wasm"
