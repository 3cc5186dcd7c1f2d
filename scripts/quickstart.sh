#!/usr/bin/env bash
# From a fresh checkout to a finished search on this machine, no Slurm needed.
# Arguments go to `hpctune run`, for example: scripts/quickstart.sh --num-samples 4
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"

say "[1/3] virtual environment $project/.venv: hpctune and scikit-learn, once"
ensure_venv "$project/.venv" "$project" quickstart uv
hpctune=$project/.venv/bin/hpctune

say "[2/3] hpctune run configs/quickstart.py $*"
say "      24 small neural networks learn to read digits. ASHA stops the worse ones early."
code=0
"$hpctune" run "$project/configs/quickstart.py" "$@" || code=$?
[[ " $* " == *" --dry-run "* || " $* " == *" --help "* ]] && exit "$code"
((code == 0 || code == 1)) || exit "$code" # 1: some trials failed; else there is nothing to show

say ""
say "[3/3] hpctune best; hpctune cost"
"$hpctune" best
"$hpctune" cost | tail -n 2
cat >&2 <<EOF

Go on:
  $hpctune serve                  # everything in a browser; hpctune html: one page to send to others
  $hpctune run configs/quickstart.py --cluster slurm -p PARTITION -t 10   # each trial as a Slurm job
  $hpctune sweep 'python train.py' lr=log:1e-4..1e-1 --metric accuracy --max   # your own program
EOF
exit "$code"
