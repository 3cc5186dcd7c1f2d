#!/usr/bin/env bash
# Whether the lowest versions of the dependencies that pyproject.toml allows are enough: installs them into
# .venv-lowest, and runs the tests that need no cluster with them.
#
#   scripts/lowest.sh                         tests/unit, tests/contract and tests/fault
#   scripts/lowest.sh tests/unit -k journal   pytest with these arguments
#
# Old packages use what newer ones, or Python, are about to remove, so warnings are no errors here.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"
cd -- "$project"
venv=$project/.venv-lowest
rm -rf -- "$venv"
"$(find_python)" -m venv -- "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv # pip always takes the newest versions
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct -e "$project[dev]"
"$venv/bin/uv" pip list --quiet --python "$venv/bin/python" # which versions these are
(($#)) || set -- tests/unit tests/contract tests/fault
PATH=$venv/bin:$PATH exec "$venv/bin/python" -m pytest -n "$(nproc)" -W default -m "not nightly and not slurm" "$@"
