"""The options of a pool of workers."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.slurm.script import signal_delay_s
from hpctune.errors import UsageError

FORK, SPAWN = "fork", "spawn"
_SLURM_KILL_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Options of a pool of workers. All times are in seconds.

    - ``workers``: the largest number. None: as many as there is room for.
    - ``trials_per_worker``: trials side by side in one worker. None: as many as share a GPU (or CPU) of which each
      needs a fraction, else one.
    - ``idle_timeout_s``: a worker without work ends after this time (default 120).
    - ``prefetch``: whether a worker gets its next trial before it has finished one. None: if the searcher does not
      learn from results.
    - ``start``: "fork" or "spawn".
    - ``wait_for_gpu``: whether a trial waits until the memory of its GPU is free.
    - ``kill_wait_s``: from SIGTERM to SIGKILL when an assignment is cancelled (default 30).
    - ``warning_s``: how long before its time limit a worker is warned.
    - ``poll_s`` and ``quiet_poll_s``: shortest and longest interval between two reads of the workers' files.
    - ``adapt_to_queue``: whether the rules of ``queue_waits.py`` apply.
    - ``choose_time``: whether the pool chooses the time limits of its workers, at most ``most_minutes``.
    """

    workers: int | None = None
    trials_per_worker: int | None = None
    idle_timeout_s: float = 120.0
    prefetch: bool | None = None
    start: str = FORK
    wait_for_gpu: bool = False
    kill_wait_s: float = 30.0
    warning_s: float = 0.0
    poll_s: float = 0.05
    quiet_poll_s: float = 0.5
    adapt_to_queue: bool = True
    choose_time: bool = False
    most_minutes: int | None = None

    @classmethod
    def of(cls, options: SlurmOptions | LocalOptions) -> PoolOptions | None:
        """The pool's part of ``options``; None if each trial is a job of its own."""
        slurm = options if isinstance(options, SlurmOptions) else None
        if options.workers is None:
            if slurm is not None and slurm.chooses_time:
                raise UsageError(
                    f"time={slurm.time!r} is valid only with long-lived workers. Set workers=N, or give each "
                    "trial's job a time limit, such as time='1:00:00'."
                )
            return None
        return cls(
            workers=None if options.workers == "auto" else int(options.workers),
            trials_per_worker=options.trials_per_worker,
            idle_timeout_s=options.idle_timeout_s,
            prefetch=options.prefetch,
            start=options.start_method,
            wait_for_gpu=options.wait_for_gpu,
            kill_wait_s=_SLURM_KILL_WAIT_S if isinstance(options, SlurmOptions) else options.kill_wait_s,
            warning_s=signal_delay_s(options) if isinstance(options, SlurmOptions) else 0.0,
            quiet_poll_s=1.0 if isinstance(options, SlurmOptions) else 0.5,
            adapt_to_queue=options.adapt_to_queue,
            choose_time=slurm is not None and slurm.chooses_time,
            most_minutes=slurm.time_minutes if slurm is not None and slurm.chooses_time else None,
        )
