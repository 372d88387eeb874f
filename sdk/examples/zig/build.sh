#!/usr/bin/env bash
# Builds the example: echo.wasm and echo.wasm.debug, beside this script.
#
#   LICTOR_TOOLS  folder into which tools are put, and found again; `.tools` beside this script without it
#   LICTOR        the program `lictor`; found on the path without it
#   PYTHON        a Python from 3.9, by which Zig is installed
set -euo pipefail

version=0.17.1 # of ziglang
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
wit="$here/../../../wit"
tools="${LICTOR_TOOLS:-$here/.tools}/ziglang-$version"
lictor="${LICTOR:-lictor}"
build="$here/build"

if [ ! -e "$tools/installed" ]; then
  echo "installing ziglang $version into $tools" >&2
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "ziglang==$version" >&2
  touch "$tools/installed"
fi
export ZIG_GLOBAL_CACHE_DIR="$tools/cache" ZIG_LOCAL_CACHE_DIR="$build/cache"
zig=("$tools/bin/python" -m ziglang)

# What an earlier build made is not to be taken for what this one makes.
rm -f "$here/echo.wasm" "$here/echo.wasm.debug"
mkdir -p "$build/wit/deps/lictor"
cp "$here/world.wit" "$build/wit/world.wit"
cp "$wit/plugin.wit" "$build/wit/deps/lictor/plugin.wit"
"$lictor" plugin bindings --lang c --wit "$build/wit" --out "$build/bindings"

"${zig[@]}" translate-c -target wasm32-wasi -lc "$build/bindings/bindings.h" >"$build/c.zig"
"${zig[@]}" build-exe -target wasm32-wasi -mexec-model=reactor -O ReleaseSmall -fno-strip --stack 65536 \
  -lc "$build/bindings/bindings.c" "$build/bindings/bindings_component_type.o" \
  --dep c -Mroot="$here/plugin.zig" -Mc="$build/c.zig" -femit-bin="$build/core.wasm"

"$lictor" plugin componentize "$build/core.wasm" -o "$here/echo.wasm"
