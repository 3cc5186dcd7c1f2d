#!/usr/bin/env bash
# The tests with training frameworks and trackers, each on its real package, in an environment of their own
# (.venv-integrations: a few gigabytes), the nightly ones included.
#
#   scripts/integrations.sh                       all of it
#   scripts/integrations.sh -k mlflow             only these
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"
cd -- "$project"
exec </dev/null

extras=dev,wandb,mlflow,mlflow-server,comet,aim,xgboost,lightgbm,keras,keras-tuner,lightning,transformers,flaml,seml
ensure_venv "$project/.venv-integrations" "$project" "$extras" uv
PATH=$project/.venv-integrations/bin:$PATH # for the `hpctune` that tests start
export PATH KERAS_BACKEND=${KERAS_BACKEND:-torch} # the one that is in the environment
exec python -m pytest tests/integrations tests/slurm/test_lightning_slurm.py tests/slurm/test_keras_tuner_slurm.py \
  "tests/acceptance/test_docs.py::test_blocks_run[docs/how-to/keras-tuner.md]" -q "$@"
