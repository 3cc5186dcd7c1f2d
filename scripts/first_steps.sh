#!/usr/bin/env bash
# What a newcomer types, from the clone to a search of an own program with a curve on the screen; each command with the
# seconds that it took.
#
#   scripts/first_steps.sh [FOLDER]     FOLDER: where to work; default: a temporary one, which is removed
#
# It runs on this machine and needs no Slurm. With Slurm, leave out `--cluster local`.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if (($#)); then
  folder=$1
  mkdir -p -- "$folder"
else
  folder=$(mktemp -d)
  trap 'rm -rf -- "$folder"' EXIT
fi
cd -- "$folder"
export HPCTUNE_RESULT_DIR=$folder/results
told=()

# step WORDS: show a command, run it, and remember how long it took.
step() {
  local begin=$SECONDS
  printf '\n$ %s\n' "$1"
  eval "$1"
  told+=("$(printf '%5d s   %s' $((SECONDS - begin)) "${1%%$'\n'*}")")
}

step "git clone --quiet $(printf %q "$project") hpctune"
step './hpctune/scripts/quickstart.sh --cluster local'
step 'source hpctune/.venv/bin/activate'
step 'cat > train.py <<EOF
import argparse, math

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--width", type=int)
args = parser.parse_args()
for epoch in range(1, 11):
    loss = 1 / (1 + 60 * args.lr * epoch) + 8 / args.width + 2 * abs(math.log10(args.lr) + 2) / 10
    print(f"epoch {epoch} val_loss: {loss:.4f}", flush=True)
EOF'
step "hpctune sweep 'python train.py' lr=log:1e-4..1e-1 width=16,32,64 --metric val_loss --num-samples 8 --cluster local"
step 'hpctune best'
step 'hpctune html -o search.html'

printf '\n%d commands:\n' "${#told[@]}"
printf '%s\n' "${told[@]}"
