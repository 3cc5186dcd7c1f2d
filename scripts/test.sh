#!/usr/bin/env bash
# Everything that must pass before a change is merged, on a fresh machine too: style, types, layers, documentation,
# tests.
#
#   scripts/test.sh                          all of it
#   scripts/test.sh tests/unit -k journal    only pytest, with these arguments
#
# Makes its own virtual environment (.venv-test). As root on Debian or Ubuntu it installs Slurm, for the tests that
# bring up a real cluster, bindfs, for two mounts of one directory, bubblewrap, for jobs in containers, and OpenSSH's
# server, for clusters that are reached over ssh; elsewhere those tests are skipped, unless CI=true: then it is a failure
# if one of them is missing. (Tests marked nightly use Podman and runc, or Apptainer, if they are installed.)
# shellcheck disable=SC2329  # the functions are called through `step`
set -uo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"
cd -- "$project" || exit 1
exec </dev/null # nothing here may wait for an answer

venv=$project/.venv-test
failed=()

heading() { printf '\n== %s (%(%H:%M:%S)T)\n' "$1" -1; }

# step NAME COMMAND...: run it, say how long it took, remember a failure, go on: one run should tell everything.
step() {
  local name=$1 begin=$SECONDS status=0
  shift
  heading "$name"
  "$@" || status=$?
  if ((status)); then
    failed+=("$name")
    printf -- '-- %s: FAILED with status %d after %d s\n' "$name" "$status" $((SECONDS - begin))
  else
    printf -- '-- %s: ok, %d s\n' "$name" $((SECONDS - begin))
  fi
}

have_slurm() {
  local program
  for program in slurmctld slurmd munged slurmdbd mariadbd mariadb-install-db bindfs sshd bwrap; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || return 1
  done
}

# The daemons that the packages bring must not start: the tests run their own, with their own configuration.
apt_install() (
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q -y && apt-get install -q -y --no-install-recommends "$@"
)

ensure_slurm() {
  local why packages=(slurm-wlm munge slurmdbd mariadb-server bindfs bubblewrap openssh-client openssh-server)
  if have_slurm; then
    echo "Slurm is installed: $(PATH=$PATH:/usr/sbin:/sbin slurmd -V)"
    return 0
  fi
  if ! command -v apt-get >/dev/null; then
    why="this is neither Debian nor Ubuntu: install Slurm, munge, slurmdbd, MariaDB, bindfs, bubblewrap and sshd as your system does"
  elif ((EUID)); then
    why="not root: ask for ${packages[*]}"
  elif apt_install "${packages[@]}" >"$apt_log" 2>&1 && have_slurm; then
    echo "installed: $(PATH=$PATH:/usr/sbin:/sbin slurmd -V)"
    return 0
  else
    tail -n 15 "$apt_log"
    why="apt-get failed, see above"
  fi
  echo "The tests on a real Slurm, or behind a real sshd, are skipped: $why."
  [[ ${CI:-} != true ]] # there, skipping would be silent
}

run_pytest() {
  # Many tests wait for Slurm rather than work: two more at a time than there are processors, and none idle at the end.
  "$venv/bin/python" -m pytest -n "$(($(nproc) + 2))" --dist worksteal -m "not nightly" "$@"
}

apt_log=$(mktemp) || exit 1
trap 'rm -f "$apt_log"' EXIT

step "Slurm" ensure_slurm
heading "virtual environment"
begin=$SECONDS
ensure_venv "$venv" "$project" dev uv || exit 1
printf -- '-- virtual environment: ok, %d s\n' $((SECONDS - begin))
PATH=$venv/bin:$PATH # for the `hpctune` that tests start
export PATH

if (($# == 0)); then
  step "ruff check" ruff check . scripts/slurm-cluster
  step "ruff format" ruff format --check . scripts/slurm-cluster
  step "mypy" mypy
  step "import layers" lint-imports
  step "docs site" ./scripts/docs.sh
fi

# Last, so that pytest's summary ends the output; so what failed before is told here.
heading "pytest"
if ((${#failed[@]})); then
  echo "FAILED before the tests: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
fi
run_pytest "$@"
status=$?
((status == 0 && ${#failed[@]} > 0)) && status=1
exit "$status"
