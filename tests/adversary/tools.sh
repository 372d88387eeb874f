#!/usr/bin/env bash
# Makes a Python environment with what requirements.txt names: `tools.sh DIR`. Does nothing where it is made already.
set -euo pipefail

wanted=$(dirname -- "${BASH_SOURCE[0]}")/requirements.txt
dir=$1
if cmp --silent "$wanted" "$dir/made-of.txt"; then
  exit 0
fi
python3 -m venv --clear "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$dir/made-of.txt"
