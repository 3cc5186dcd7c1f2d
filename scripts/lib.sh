# shellcheck shell=bash
# What test.sh and quickstart.sh share: finding a Python, and a virtual environment that is rebuilt only when it must be.

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$(basename "$0"): $*"
  exit 1
}

# Print the newest Python from 3.11 on that can make virtual environments; an explicit $PYTHON wins.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  fail "needs Python 3.11 or later with its venv module (on Debian or Ubuntu: apt-get install python3-venv)." \
    "Name one with PYTHON=/path/to/python3."
}

# with_uv FOLDER WHAT...: install WHAT with uv, which finds the versions in seconds where pip needs a minute or two. Fails
# where uv cannot be had, and where pip has a mirror to use, because uv does not read pip's variables.
with_uv() {
  local folder=$1
  shift
  local quiet=(--quiet)
  [[ -t 2 ]] && quiet=() # on a terminal, uv shows what it loads
  [[ -z ${PIP_INDEX_URL:-}${PIP_NO_INDEX:-} ]] &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input uv 2>/dev/null || return 1
  "$folder/bin/uv" pip install "${quiet[@]}" --python "$folder/bin/python" "$@" >&2 && return 0
  say "uv could not install this; its reason is above. Trying pip, which takes longer ..."
  return 1
}

# ensure_venv FOLDER PROJECT EXTRA [uv]: a virtual environment with PROJECT[EXTRA] installed in editable mode, with pip,
# or with uv where that works. It is made anew when pyproject.toml, the version, the Python or the checkout's place
# changed, so a second run starts at once.
ensure_venv() {
  local folder=$1 project=$2 extra=$3 tool=${4:-pip} python stamp wanted quiet=(--quiet)
  python=$(find_python) || exit 1
  stamp=$folder/.hpctune-stamp
  wanted=$("$python" -c '
import hashlib, pathlib, sys
read = [pathlib.Path(sys.argv[1], name).read_bytes() for name in ("pyproject.toml", "hpctune/version.py")]
text = b"".join(read) + repr((sys.version, sys.argv)).encode()
print(hashlib.sha256(text).hexdigest())' "$project" "$extra")
  if [[ -x $folder/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    return 0
  fi
  say "making $folder with $("$python" --version), installing hpctune[$extra] and what it needs ..."
  rm -rf -- "$folder"
  "$python" -m venv -- "$folder" || fail "$python cannot make a virtual environment (Debian: apt-get install python3-venv)."
  [[ -t 2 ]] && quiet=() # on a terminal, pip shows what it loads
  if ! { [[ $tool == uv ]] && with_uv "$folder" -e "${project}[$extra]"; } &&
    ! "$folder/bin/python" -m pip install "${quiet[@]}" --disable-pip-version-check --no-input -e "${project}[$extra]" >&2; then
    fail "pip could not install the dependencies (its reason is above). Without internet, point pip at a mirror:" \
      "PIP_INDEX_URL=https://mirror.example/simple, or PIP_FIND_LINKS=/folder/with/wheels."
  fi
  printf '%s' "$wanted" >"$stamp" # last: an installation that was interrupted is done again
}
