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
build="$here/build"

# What this machine's Python has or is told is no part of a plugin, and no one reads traces of the tools' own code.
export PYTHONNOUSERSITE=1
unset PYTHONPATH PYTHONHOME RUST_BACKTRACE

# What an earlier build made is not to be taken for what this one makes.
rm -f "$here/$name.wasm"

# Reads all of the plugin's code, so a wrong line ends the build before anything is installed or run.
"${PYTHON:-python3}" -I "$here/lictor/world.py" "$here" "${LICTOR_WIT:-$here/wit}" "$build/wit"

if [ ! -e "$tools/installed" ]; then
  echo "installing componentize-py $version into $tools" >&2
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "componentize-py==$version" >&2
  touch "$tools/installed"
fi
# The packages that the plugin itself names.
packages="$build/packages"
if [ -e "$here/requirements.txt" ] && ! cmp -s "$here/requirements.txt" "$packages/requirements.txt"; then
  rm -rf "$packages"
  # Without compiled code, which would be this machine's.
  "$tools/bin/pip" install --quiet --disable-pip-version-check --target "$packages" --requirement "$here/requirements.txt" >&2
  (cd "$packages" && find . -name '*.so' -print -delete) | cut -d / -f 2 | cut -d . -f 1 | sort -u >"$packages/compiled.txt"
  cp "$here/requirements.txt" "$packages/requirements.txt"
fi

mkdir -p "$build/app" "$packages" "$build/nothing/lib/site-packages"

# Names of modules that stay the same whatever else the world imports.
names=()
for interface in call events files http output reply request state types; do
  names+=(--import-interface-name "lictor:plugin/$interface@0.1.0=$interface")
done
for interface in \
  wasi:config/store@0.2.0-rc.1=config wasi:logging/logging@0.1.0-draft=logging \
  wasi:keyvalue/store@0.2.0-draft=keyvalue wasi:keyvalue/atomics@0.2.0-draft=atomics \
  wasi:keyvalue/batch@0.2.0-draft=batch; do
  names+=(--import-interface-name "$interface")
done

# The bindings, for editors.
rm -rf "$build/bindings"
"$tools/bin/componentize-py" --quiet --wit-path "$build/wit" "${names[@]}" bindings "$build/bindings" >&2

# What the builder imports: the plugin, and then all that it may need later.
exports="lictor import Commands"
if grep -q "include lictor:plugin/streaming-plugin@" "$build/wit/world.wit"; then
  exports="lictor._streaming import StreamingCommands"
fi
compiled=""
if [ -e "$packages/compiled.txt" ]; then compiled=$(tr '\n' ' ' <"$packages/compiled.txt"); fi
cat >"$build/app/lictor_app.py" <<APP
from lictor._bundle import keep, load

load("$compiled".split())

from $exports  # noqa: E402, F401

keep()
APP

# VIRTUAL_ENV: componentize-py would add the packages of the machine's Python to those that are named here.
#
# Without --stub-wasi: it would put traps into the place of all that begins with `wasi:`, wasi:config and
# wasi:keyvalue among them, and of the clock, and freeze the seed of random numbers.
VIRTUAL_ENV="$build/nothing" "$tools/bin/componentize-py" --quiet --wit-path "$build/wit" "${names[@]}" \
  componentize lictor_app --python-path "$here" --python-path "$packages" --python-path "$build/app" \
  --output "$build/open.wasm" >"$build/told.txt" 2>&1 || {
  sed -n -e "s/^ImportError: \\(the plugin can't be imported: \\)/\\1/p" \
    -e "s/.*called trapping stub: /nothing may ask the host while the plugin is built, at top level; this was asked: /p" \
    "$build/told.txt" >"$build/why.txt"
  if [ ! -s "$build/why.txt" ]; then mv "$build/told.txt" "$build/why.txt"; fi
  cat "$build/why.txt" >&2
  exit 1
}

# Python's library imports wasi:sockets whatever the plugin does, and plugins get no sockets: here they become traps.
"${LICTOR:-lictor}" plugin seal "$build/open.wasm" --without wasi:sockets -o "$here/$name.wasm"
