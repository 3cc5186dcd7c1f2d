"""``python -m hpctune.worker EXPERIMENT_DIR TRIAL_DIRNAME ATTEMPT``: the command that a job runs."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from hpctune.common.log import log, show_messages
from hpctune.common.processes import exit_now
from hpctune.errors import TuneError
from hpctune.usercode import main_module
from hpctune.worker.container import end_with_program
from hpctune.worker.main import run_attempt


def main() -> None:
    """Run the attempt and exit, even if user code has left threads or child processes behind."""
    end_with_program()
    main_module.offer()
    try:
        show_messages()
        code = run_attempt(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except TuneError as error:
        log.error(f"hpctune: error: {error}")
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    exit_now(code)


if __name__ == "__main__":
    main()
