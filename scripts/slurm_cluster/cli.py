"""The command line."""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from . import cluster, daemons, layout
from .options import ClusterError, Options

_EPILOG = """\
examples:
  eval "$(slurm-cluster up)"            # a cluster of four nodes with four fake GPUs each, and SLURM_CONF set
  sbatch --gres=gpu:2 --wrap 'echo $CUDA_VISIBLE_DEVICES'
  slurm-cluster down
  slurm-cluster run --nodes 2 -- pytest tests/slurm    # a cluster just for this command

exit status: 0 fine; 1 an error, or (status) not up; 2 wrong usage; 3 Slurm is not installed.
`run` ends with the status of its command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.action(parsed))
    except ClusterError as error:
        print(f"slurm-cluster: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _up(parsed: argparse.Namespace) -> int:
    where = cluster.up(_directory(parsed), _options(parsed), parsed.owner_pid)
    print(_export_line(where))
    return 0


def _down(parsed: argparse.Namespace) -> int:
    cluster.down(_directory(parsed), keep_logs=parsed.keep_logs)
    return 0


def _status(parsed: argparse.Namespace) -> int:
    found = cluster.status(_directory(parsed))
    if found is None:
        print(f"no cluster in {_directory(parsed)}")
        return 1
    for name, pid in found.running.items():
        print(f"{name:16} {f'process {pid}' if pid else 'not running'}")
    for node, state in cluster.node_states(found.layout).items():
        print(f"node {node:11} {state}")
    return 0 if found.is_up else 1


def _env(parsed: argparse.Namespace) -> int:
    found = layout.existing(_directory(parsed))
    if found is None:
        raise ClusterError(f"There is no cluster in {_directory(parsed)}.")
    print(_export_line(found[0]))
    return 0


def _start(parsed: argparse.Namespace) -> int:
    cluster.start_daemon(_directory(parsed), parsed.name)
    return 0


def _stop(parsed: argparse.Namespace) -> int:
    cluster.stop_daemon(_directory(parsed), parsed.name, signal.SIGKILL if parsed.kill else signal.SIGTERM)
    return 0


def _watch(parsed: argparse.Namespace) -> int:
    cluster.watch(_directory(parsed), parsed.owner_pid)
    return 0


def _run(parsed: argparse.Namespace) -> int:
    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    if not command:
        raise ClusterError("run needs a command: slurm-cluster run -- CMD ...")
    directory = Path(tempfile.mkdtemp(prefix="slurm-cluster-")).resolve() if parsed.dir is None else _directory(parsed)
    if layout.existing(directory) is not None:
        raise ClusterError(f"There is a cluster in {directory} already, which `run` would take down at its end.")
    # From here to the end, a polite request to stop must not skip the `finally`.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_exit)
    try:
        where = cluster.up(directory, _options(parsed), os.getpid())
        return _run_command(command, daemons.client_environment(where))
    finally:
        cluster.down(directory, keep_logs=parsed.keep_logs)


def _run_command(command: Sequence[str], environment: dict[str, str]) -> int:
    libc = ctypes.CDLL(None)

    def die_with_parent() -> None:
        """Were `run` killed with SIGKILL, its command would go on without a cluster: let the kernel end it too."""
        pr_set_pdeathsig = 1
        libc.prctl(pr_set_pdeathsig, signal.SIGTERM)

    try:
        process = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent)
    except OSError as error:
        raise ClusterError(f"Cannot run {command[0]}: {error.strerror}") from None
    while True:
        try:
            status = process.wait()
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:
            continue  # the terminal sent it to the command as well; the command decides
        except SystemExit:
            process.terminate()
            process.wait()
            raise


def _raise_exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _export_line(where: layout.Layout) -> str:
    return f"export SLURM_CONF={shlex.quote(str(where.conf))}"


def _directory(parsed: argparse.Namespace) -> Path:
    chosen = layout.default_dir() if parsed.dir is None else Path(parsed.dir)
    return chosen.expanduser().resolve()


def _options(parsed: argparse.Namespace) -> Options:
    values = {each.name: getattr(parsed, each.name) for each in fields(Options)}
    if values["enforce"] or values["max_submit"]:  # these mean nothing without the database: no need to ask for it
        values["accounting"] = True
        values["enforce"] = values["enforce"] or "associations,limits"
    return Options(**values)


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="slurm-cluster",
        description="A private Slurm cluster on this machine: several nodes, fake GPUs, no privileges needed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", metavar="DIR", help="the cluster's folder (default: one per user in $TMPDIR or /tmp)")
    shape = _shape_parser()
    keep = argparse.ArgumentParser(add_help=False)
    keep.add_argument("--keep-logs", action="store_true", help="leave DIR/log behind")

    up = commands.add_parser("up", parents=[common, shape], help="start a cluster, or what is missing of it")
    up.add_argument("--owner-pid", type=int, metavar="PID", help="take the cluster down when this process ends")
    up.set_defaults(action=_up)
    down = commands.add_parser("down", parents=[common, keep], help="cancel jobs, end every process, remove the folder")
    down.set_defaults(action=_down)
    status = commands.add_parser("status", parents=[common], help="daemons and nodes; fails if a daemon is missing")
    status.set_defaults(action=_status)
    env = commands.add_parser("env", parents=[common], help="print `export SLURM_CONF=...` again")
    env.set_defaults(action=_env)
    run = commands.add_parser("run", parents=[common, shape, keep], help="a cluster just for one command")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")
    run.set_defaults(action=_run)
    start = commands.add_parser("start", parents=[common], help="start one daemon or node again")
    start.add_argument("name", metavar="NAME", help="a node, or a daemon as `status` names it")
    start.set_defaults(action=_start)
    stop = commands.add_parser("stop", parents=[common], help="stop one daemon or node (its jobs' processes live on)")
    stop.add_argument("name", metavar="NAME", help="a node, or a daemon as `status` names it")
    stop.add_argument("--kill", action="store_true", help="SIGKILL instead of SIGTERM")
    stop.set_defaults(action=_stop)
    watch = commands.add_parser("watch", parents=[common], help="wait for a process to end, then take the cluster down")
    watch.add_argument("--owner-pid", type=int, metavar="PID", required=True)
    watch.set_defaults(action=_watch)
    return top


def _shape_parser() -> argparse.ArgumentParser:
    shape = argparse.ArgumentParser(add_help=False)
    plain = Options()

    def number(name: str, text: str) -> None:
        flag, default = f"--{name.replace('_', '-')}", getattr(plain, name)
        shape.add_argument(flag, type=int, default=default, metavar="N", help=f"{text} ({default})")

    number("nodes", "number of nodes")
    number("cpus_per_node", "CPUs that each node pretends to have")
    number("gpus_per_node", "fake GPUs on each node")
    number("memory_per_node_mb", "MB that each node pretends to have")
    shape.add_argument("--prefix", default=plain.prefix, help=f"node names are PREFIX1, PREFIX2, ... ({plain.prefix})")
    shape.add_argument("--accounting", action="store_true", help="with slurmdbd and a private MariaDB")
    shape.add_argument(
        "--enforce",
        nargs="?",
        const="associations,limits",
        default="",
        metavar="WHAT",
        help="AccountingStorageEnforce, here `associations,limits` if WHAT is left out; implies --accounting",
    )
    number("max_submit", "MaxSubmitJobs of the user, 0 for none; implies --accounting --enforce")
    number("kill_wait", "KillWait: seconds from SIGTERM to SIGKILL")
    number("grace_time", "GraceTime: seconds that a preempted job of `scavenge` gets")
    number("slurmd_timeout", "SlurmdTimeout: seconds until a silent node is down")
    number("min_job_age", "MinJobAge: seconds that squeue still knows an ended job")
    number("max_array_size", "MaxArraySize: one more than the highest index")
    number("requeue_delay", "seconds until a requeued job may start again")
    return shape
