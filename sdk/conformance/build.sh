#!/usr/bin/env bash
# Builds conformance plugins: `build.sh js`, `build.sh python`, `build.sh c`, or several. `build.sh js` leaves
# build/js/js.wasm beside this script. LICTOR_TOOLS and LICTOR are as in the languages' own build scripts.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
for lang in "$@"; do
  "$here/../assemble.sh" "$lang" "$here/$lang" "$here/world.wit" "$here/build/$lang"
  LICTOR_TOOLS="${LICTOR_TOOLS:-$here/.tools}" LICTOR_WIT="$here/build/$lang/wit" "$here/build/$lang/build.sh"
done
