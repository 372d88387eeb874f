#!/usr/bin/env bash
# Builds the plugin of the folder in which this script stands, from plugin.py: NAME.wasm, NAME being the folder's.
#
#   LICTOR_TOOLS  folder into which tools are put, and found again; `.tools` beside this script without it
#   LICTOR_WIT    the WIT package whose world the plugin has; `wit` beside this script without it
#   LICTOR        the program `lictor`; found on the path without it
#   PYTHON        a Python from 3.10, which runs the tools; the plugin gets a Python of its own
set -euo pipefail

version=0.25.1 # of componentize-py
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
tools="${LICTOR_TOOLS:-$here/.tools}/componentize-py-$version"
name=$(basename -- "$here")

if [ ! -e "$tools/installed" ]; then
  echo "installing componentize-py $version into $tools" >&2
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "componentize-py==$version" >&2
  touch "$tools/installed"
fi

# Names of modules that stay the same whatever else the world imports.
names=()
for interface in \
  wasi:config/store@0.2.0-rc.1=config wasi:logging/logging@0.1.0-draft=logging \
  wasi:keyvalue/store@0.2.0-draft=keyvalue wasi:keyvalue/atomics@0.2.0-draft=atomics \
  wasi:keyvalue/batch@0.2.0-draft=batch; do
  names+=(--import-interface-name "$interface")
done

# Without --stub-wasi: it would put traps into the place of all that begins with `wasi:`, wasi:config and
# wasi:keyvalue among them, and of the clock, and freeze the seed of random numbers.
mkdir -p "$here/build"
"$tools/bin/componentize-py" --quiet --wit-path "${LICTOR_WIT:-$here/wit}" "${names[@]}" \
  componentize plugin --python-path "$here" --output "$here/build/open.wasm" >&2

# Python's library imports wasi:sockets whatever the plugin does, and plugins get no sockets: here they become traps.
"${LICTOR:-lictor}" plugin seal "$here/build/open.wasm" --without wasi:sockets -o "$here/$name.wasm"
