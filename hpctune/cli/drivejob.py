"""The command of a driver job, ``python -m hpctune.cli.drivejob DIR``: wait, drive, keep successors queued.

A driver job ends in one of three ways. *Handed over*: its time limit is near, and a successor is in the queue.
*Over*: the experiment is over, and the waiting driver jobs are cancelled. *Given up*: a successor would fail too (its
code raises, jobs may not submit jobs here, or drivers die one after the other). The reason is recorded, and no
successor follows.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

from hpctune.cli import exitcodes
from hpctune.cli.outcome import exit_code, failure_words
from hpctune.common.log import log, show_messages
from hpctune.common.text import quoted
from hpctune.core.resume import ResumeChoice
from hpctune.errors import ClusterError, DriverAliveError, LeaseLostError, RequestRejectedError, StorageError, TuneError
from hpctune.launch.driven import DrivenExperiment, watched
from hpctune.launch.driver_chain import CHECK_S, DriverJobChain
from hpctune.launch.overrides import Overrides, use
from hpctune.launch.run import resume_directory
from hpctune.model import events as e
from hpctune.storage import journal, lease, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.usercode import main_module

WARNING = "SIGUSR1"
"""The signal that Slurm sends before the time limit."""
MAX_DEATHS = 5
"""Maximum number of consecutive drivers that may die soon after their start."""
YOUNG_S = 60.0
AGAIN_S = 5.0
_SUCCEED = ResumeChoice(experiment="skip")


def drive(paths: ExperimentPaths, job_id: str) -> int:
    """Run as the driver job ``job_id`` of the experiment. Returns the exit code."""
    chain = DriverJobChain(paths, spec_file.read(paths), job_id)
    while True:
        if not _may_drive(paths, chain):
            chain.left("another driver job is running, and more are waiting")
            return exitcodes.DONE
        ended = read_experiment(paths.root, peek=False).state.ended
        if ended is not None:
            chain.give_up(f"nothing is left to drive: {ended}")
            return exitcodes.DONE
        if deaths(journal.read(paths.journal, sealed_ok=True)) >= MAX_DEATHS:
            chain.give_up(
                f"the last {MAX_DEATHS} drivers died within {YOUNG_S:g} s without any event. See their output "
                f"in {paths.drivers}; with more memory: hpctune resume {quoted(paths.root)} --sbatch --driver-mem 8G"
            )
            return exitcodes.FAILED
        try:
            return _drive(paths, chain)
        except (DriverAliveError, LeaseLostError) as error:
            log.error(f"hpctune: {error}")
            time.sleep(AGAIN_S)


def _may_drive(paths: ExperimentPaths, chain: DriverJobChain) -> bool:
    """Wait while another driver is alive. False if the chain has enough jobs without this one."""
    asked_at = float("-inf")
    while not lease.is_free(paths):
        if time.monotonic() - asked_at >= CHECK_S:
            asked_at = time.monotonic()
            if chain.is_redundant():
                return False
            if chain.ensure_successors():  # otherwise it has recorded an error, which is more important
                chain.say("waiting for the running driver to stop")
        time.sleep(AGAIN_S)
    return True


def _drive(paths: ExperimentPaths, chain: DriverJobChain) -> int:
    over = threading.Event()
    with use(Overrides(verbose=chain.verbose)), watched() as driven:
        keeper = threading.Thread(target=chain.keep, args=(lambda: bool(driven), over), daemon=True)
        try:
            chain.test()
            keeper.start()
            resume_directory(paths, _SUCCEED)
        except (DriverAliveError, LeaseLostError):
            raise
        except RequestRejectedError as error:
            chain.give_up(
                f"a driver cannot run in a job: {error} Run it on the login node: hpctune resume {quoted(paths.root)}"
            )
            return exitcodes.FAILED
        except (StorageError, ClusterError, OSError) as error:
            chain.left(f"{error}")  # a successor may succeed
            return exitcodes.FAILED
        except Exception as error:
            if not isinstance(error, TuneError):
                traceback.print_exc()
            chain.give_up(
                f"the driver failed: {error!r}. When that is fixed: hpctune resume {quoted(paths.root)} --sbatch"
            )
            return exitcodes.FAILED
        finally:
            over.set()
    return _left(chain, driven)


def _left(chain: DriverJobChain, driven: list[DrivenExperiment]) -> int:
    one = driven[0]
    if one.driver.finished:
        chain.left("the experiment is over")
        words = failure_words(driven)
        if words:
            log.error(f"hpctune: error: {words}")
        return exit_code(driven)
    if one.leave.reason == WARNING:
        chain.ensure_successors()
    chain.left(f"asked to stop ({one.leave.reason})")
    return exitcodes.DONE


def deaths(recorded: Iterable[e.Recorded]) -> int:
    """The number of consecutive drivers, up to the last, that died soon after their start without any event."""
    count, began, news = 0, None, False
    for one in recorded:
        if isinstance(one.event, e.DriverStarted):
            count = count + 1 if began is not None and not news else 0
            began, news = one.at, False
        elif isinstance(one.event, e.DriverStopped):
            count, began = 0, None
        elif began is not None and (not isinstance(one.event, e.BudgetUsed) or one.at - began > YOUNG_S):
            news = True
    return count + 1 if began is not None and not news else 0


def main() -> None:
    """The program."""
    show_messages()
    os.environ["HPCTUNE_DISABLE_SIGINT_HANDLER"] = "0"  # Slurm announces the time limit by signals
    paths = ExperimentPaths(Path(sys.argv[1]))
    job_id = os.environ.get("SLURM_JOB_ID", str(os.getpid()))
    main_module.offer()
    try:
        code = drive(paths, job_id)
    except TuneError as error:
        log.error(f"hpctune: error: {error}")
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
