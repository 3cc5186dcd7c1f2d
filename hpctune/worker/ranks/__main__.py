"""``python -m hpctune.worker.ranks EXPERIMENT_DIR TRIAL_DIRNAME ATTEMPT``: one rank, started by its trial's process."""

from __future__ import annotations

import sys

from hpctune.common.log import show_messages
from hpctune.common.processes import exit_now
from hpctune.usercode import main_module
from hpctune.worker.container import end_with_program
from hpctune.worker.ranks.rank import run_rank


def main() -> None:
    """Run the rank and exit, even if user code has left threads or child processes behind."""
    end_with_program()
    main_module.offer()
    show_messages()
    code = run_rank(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    exit_now(code)


if __name__ == "__main__":
    main()
