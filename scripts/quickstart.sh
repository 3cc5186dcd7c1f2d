#!/usr/bin/env bash
# From a fresh checkout to a finished search on this machine, no Slurm needed.
# Arguments go to `hpctune run`, for example: scripts/quickstart.sh --num-samples 4
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"

say "[1/2] virtual environment $project/.venv"
ensure_venv "$project/.venv" "$project" quickstart
say "[2/2] hpctune run configs/quickstart.py $*"
exec "$project/.venv/bin/hpctune" run "$project/configs/quickstart.py" "$@"
