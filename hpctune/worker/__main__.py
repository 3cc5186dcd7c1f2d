"""``python -m hpctune.worker EXPERIMENT_DIR TRIAL_DIRNAME ATTEMPT``: what a job runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpctune.errors import TuneError
from hpctune.worker.main import run_attempt


def main() -> None:
    """Run the attempt and leave, whatever threads or children the user's code has left behind."""
    try:
        code = run_attempt(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except TuneError as error:
        print(f"hpctune: error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    main()
