#!/usr/bin/env bash
# Assembles a plugin project from the parts in this repository, as `lictor plugin new` does:
#
#   assemble.sh LANG SOURCE WORLD DIR
#
# DIR gets the kit and the build script of LANG (sdk/LANG), the files of the folder SOURCE, and wit/ with the file WORLD
# as its world. DIR is created if missing; build output in it is kept.
set -euo pipefail

lang=$1 source=$2 world=$3 dir=$4
sdk=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

mkdir -p "$dir/wit/deps/lictor"
cp -R "$sdk/$lang/." "$source/." "$dir"
cp "$world" "$dir/wit/world.wit"
cp "$sdk/../wit/plugin.wit" "$dir/wit/deps/lictor/plugin.wit"
cp -R "$sdk/../wit/deps/." "$dir/wit/deps"
