#!/usr/bin/env bash
# Builds the plugin of the folder in which this script stands, from its *.c: NAME.wasm, NAME being the folder's, and
# NAME.wasm.debug, by which the server's log tells the lines where it trapped.
#
#   LICTOR_TOOLS  folder into which tools are put, and found again; `.tools` beside this script without it
#   LICTOR_WIT    the WIT package whose world the plugin has; `wit` beside this script without it
#   LICTOR        the program `lictor`; found on the path without it
#   PYTHON        a Python from 3.9, by which the compiler (Zig's) is installed
set -euo pipefail

version=0.17.1 # of ziglang
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tools="${LICTOR_TOOLS:-$here/.tools}/ziglang-$version"
lictor="${LICTOR:-lictor}"
build="$here/build"
name=$(basename -- "$here")

# What an earlier build made is not to be taken for what this one makes.
rm -f "$here/$name.wasm" "$here/$name.wasm.debug"

if [ ! -e "$tools/installed" ]; then
  echo "installing ziglang $version into $tools" >&2
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "ziglang==$version" >&2
  touch "$tools/installed"
fi
export ZIG_GLOBAL_CACHE_DIR="$tools/cache" ZIG_LOCAL_CACHE_DIR="$build/cache"

"$lictor" plugin bindings --lang c --wit "${LICTOR_WIT:-$here/wit}" --out "$build/bindings"

# wasi-libc as a library without a `main`. The stack is small, so that a fresh instance needs little memory; Zig puts it
# below all data, so that too deep a recursion traps. Commands have parameters that not every one uses. Of -g1 the names of functions stay in the component, by which the log
# tells traps, and files and lines go into the debug file. assert() is kept.
"$tools/bin/python" -m ziglang cc -target wasm32-wasi -mexec-model=reactor \
  -std=c17 -Os -g1 -UNDEBUG -Wall -Wextra -Wno-unused-parameter -fno-sanitize=undefined \
  -Wl,-z,stack-size=65536 \
  -I "$here" -I "$build/bindings" -o "$build/core.wasm" \
  "$here"/*.c "$build/bindings/bindings.c" "$build/bindings/bindings_component_type.o"

"$lictor" plugin componentize "$build/core.wasm" -o "$here/$name.wasm"
