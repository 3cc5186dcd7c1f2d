#!/usr/bin/env bash
# Build the documentation as a site: site/index.html. A broken link, a page that is missing from the navigation, or
# anything else that is worth a warning is a failure.
#
# Makes its own virtual environment (.venv-docs).
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
source "$project/scripts/lib.sh"
cd -- "$project"

venv=$project/.venv-docs
ensure_venv "$venv" "$project" docs uv
NO_MKDOCS_2_WARNING=1 "$venv/bin/python" -m mkdocs build --strict --clean
echo "The site is in site/. To search it too: python3 -m http.server --directory site 8000, and open port 8000."
