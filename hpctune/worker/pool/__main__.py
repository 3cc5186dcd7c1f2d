"""``python -m hpctune.worker.pool EXPERIMENT_DIR WORKER``: the command that a pool worker's job runs."""

from __future__ import annotations

from hpctune.worker.pool.main import main

if __name__ == "__main__":
    main()
