"""up, down and status: the only place that orders the steps."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import accounting, config, daemons, layout, processes
from .daemons import Daemon, PortTaken, Started, wait_until
from .layout import Layout, Record
from .options import ClusterError, Options

_ATTEMPTS = 3
_HEALTHY = frozenset({"idle", "mix", "alloc", "comp", "drain", "drng"})
_JOBS_END_S = 2.0


@dataclass(frozen=True)
class Status:
    layout: Layout
    record: Record
    running: dict[str, int | None]

    @property
    def is_up(self) -> bool:
        return all(self.running.values())


def up(directory: Path, wanted: Options, owner_pid: int | None = None) -> Layout:
    """Bring a cluster up, or what is missing of one; a second call finds nothing to do."""
    daemons.require_programs(wanted.accounting)
    with layout.locked(directory):
        found = layout.existing(directory)
        if found is not None and processes.belonging_to(found[0]):
            where, record = found
            _refuse_other_shape(directory, record.options, wanted)
            _start_missing(where, record)
            return where
        if found is not None:  # what a reboot left
            layout.remove(found[0], keep={"lock", "log"})
        return _fresh(directory, wanted, owner_pid)


def down(directory: Path, keep_logs: bool = False) -> None:
    """Cancel the jobs, end every process of the cluster, remove its files. Nothing there is fine."""
    if not directory.is_dir():
        return
    with layout.locked(directory):
        found = layout.existing(directory)
        where = found[0] if found else Layout(directory, directory)
        _cancel_jobs(where)
        survivors = processes.kill_all(where)
        layout.remove(where, keep={"log"} if keep_logs else set())
    if survivors:
        listed = ", ".join(f"{each.pid} ({each.command})" for each in survivors)
        raise ClusterError(f"These processes of the cluster survive SIGKILL: {listed}")


def status(directory: Path) -> Status | None:
    found = layout.existing(directory)
    if found is None:
        return None
    where, record = found
    return Status(where, record, {each.name: each.running(where) for each in _all_daemons(where, record.options)})


def start_daemon(directory: Path, name: str) -> None:
    with layout.locked(directory):
        where, record = _existing_or_raise(directory)
        daemon = _daemon_named(where, record, name)
        if daemon.running(where) is None:
            _start_one(daemon, where, record)
        if daemon.name.startswith(("slurmd-", "slurmctld")):
            _wait_for_nodes(where, record, [])


def stop_daemon(directory: Path, name: str, number: int) -> None:
    with layout.locked(directory):
        where, record = _existing_or_raise(directory)
        daemons.stop(_daemon_named(where, record, name), where, number)


def watch(directory: Path, owner_pid: int) -> None:
    """Wait for the end of the owner, however it dies, and take the cluster down; or for the end of the cluster."""
    first, birth = Record.read(directory), processes.birth(owner_pid)
    while birth is not None and processes.birth(owner_pid) == birth:
        time.sleep(0.25)
        if Record.read(directory) != first:
            return
    down(directory)


def _fresh(directory: Path, options: Options, owner_pid: int | None) -> Layout:
    for attempt in range(1, _ATTEMPTS + 1):
        where = layout.create(directory)
        record = Record(str(where.root), daemons.free_ports(options.ports_needed), options)
        try:
            _write_files(where, record)
            record.write(where)
            if owner_pid is not None:  # before the first daemon: from here on the owner may die at any time
                _start_watcher(where, owner_pid)
            _start_missing(where, record)
            return where
        except PortTaken:
            _undo(where)
            if attempt == _ATTEMPTS:
                raise
        except BaseException:  # also Ctrl-C: half a cluster is of no use
            _undo(where)
            raise
    raise AssertionError("unreachable")


def _undo(where: Layout) -> None:
    """The logs stay, since there is an error to understand; and the lock, since we still hold it."""
    processes.kill_all(where)
    layout.remove(where, keep={"lock", "log"})


def _write_files(where: Layout, record: Record) -> None:
    where.make_folders()
    key = where.dir / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    for i in range(record.options.gpus_per_node):
        (where.dir / "gpu" / f"gpu{i}").symlink_to("/dev/null")
    (where.dir / "slurm.conf").write_text(config.slurm_conf(record.options, where, record.base_port))
    (where.dir / "gres.conf").write_text(config.gres_conf(record.options, where))
    (where.dir / "cgroup.conf").write_text(config.cgroup_conf(_slurm_version()))
    if record.options.accounting:
        accounting.write_files(where, record.base_port)


def _start_missing(where: Layout, record: Record) -> None:
    """Munge first, then the database, the controller, and all nodes together."""
    started: list[Started] = []
    for daemon in _all_daemons(where, record.options):
        if daemon.running(where) is None:
            started.append(_start_one(daemon, where, record))
            if daemon.name == "slurmdbd":
                accounting.create_associations(record.options, where)
    _wait_for_nodes(where, record, started)


def _start_one(daemon: Daemon, where: Layout, record: Record) -> Started:
    if daemon.name == "mariadb":
        return accounting.start_mariadb(where)
    if daemon.name == "slurmdbd":
        return accounting.start_slurmdbd(where, record.base_port)
    started = daemons.start(daemon, where)
    if daemon.name == "munged":
        wait_until(lambda: daemons.accepts_unix(where.munge_socket), "munged to answer", [started], daemon.logs)
    if daemon.name == "slurmctld":
        port = config.controller_port(record.base_port)
        wait_until(lambda: daemons.accepts_tcp(port), "slurmctld to answer", [started], daemon.logs)
    return started


def _wait_for_nodes(where: Layout, record: Record, started: Sequence[Started]) -> None:
    """Until every node whose slurmd runs is ready for jobs, in the eyes of the controller."""
    expected = {name for name in record.options.node_names if _slurmd(where, name).running(where) is not None}

    def ready() -> bool:
        states = node_states(where)
        return all(states.get(name) in _HEALTHY for name in expected)

    if _slurmctld(where).running(where) is not None:
        logs = [where.log / "slurmctld.log", *(where.log / f"slurmd-{name}.log" for name in sorted(expected)[:1])]
        wait_until(ready, "the nodes to be ready", started, logs)


def node_states(where: Layout) -> dict[str, str]:
    """Node name -> short state. A '*' at its end says that the node does not answer. Empty if nobody could tell."""
    command = [daemons.which("sinfo") or "sinfo", "-h", "-N", "-p", "main", "-o", "%N %t"]
    done = _ask(command, where, timeout_s=15.0)
    return dict(line.split() for line in done.splitlines() if len(line.split()) == 2)


def _cancel_jobs(where: Layout) -> None:
    """Give jobs the signal that they would get on a real site, and a moment for it; SIGKILL comes anyway."""
    if _slurmctld(where).running(where) is None or not _ask(["squeue", "-h", "-o", "%i"], where, timeout_s=3.0):
        return
    _ask(["scancel", "--me"], where, timeout_s=5.0)
    deadline = time.monotonic() + _JOBS_END_S
    while time.monotonic() < deadline and any("slurmstepd" in each.command for each in processes.belonging_to(where)):
        time.sleep(0.05)


def _ask(command: Sequence[str], where: Layout, timeout_s: float) -> str:
    """What a Slurm command prints; nothing if it fails, for then the controller is away."""
    program = daemons.which(command[0]) or command[0]
    environment = daemons.client_environment(where)
    try:
        done = subprocess.run(
            [program, *command[1:]], env=environment, capture_output=True, text=True, timeout=timeout_s
        )
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _all_daemons(where: Layout, options: Options) -> list[Daemon]:
    """In the order in which they need each other."""
    database = [accounting.mariadb(where), accounting.slurmdbd(where)] if options.accounting else []
    return [_munged(where), *database, _slurmctld(where), *(_slurmd(where, name) for name in options.node_names)]


def _munged(where: Layout) -> Daemon:
    folder = where.root / "munge"
    command = (
        "munged",
        "--foreground",
        "--force",  # it would prefer a socket in a folder open to all
        "--num-threads=2",
        f"--key-file={folder}/key",
        f"--socket={where.munge_socket}",
        f"--pid-file={folder}/pid",
        f"--log-file={folder}/log",
        f"--seed-file={folder}/seed",
    )
    return Daemon("munged", command, (where.log / "munged.out",))


def _slurmctld(where: Layout) -> Daemon:
    logs = (where.log / "slurmctld.log", where.log / "slurmctld.out")
    return Daemon("slurmctld", ("slurmctld", "-D", "-f", str(where.conf)), logs)


def _slurmd(where: Layout, node: str) -> Daemon:
    logs = (where.log / f"slurmd-{node}.log", where.log / f"slurmd-{node}.out")
    return Daemon(f"slurmd-{node}", ("slurmd", "-D", "-N", node, "-f", str(where.conf)), logs)


def _daemon_named(where: Layout, record: Record, name: str) -> Daemon:
    known = {each.name: each for each in _all_daemons(where, record.options)}
    wanted = f"slurmd-{name}" if name in record.options.node_names else name
    if wanted not in known:
        raise ClusterError(f"No daemon or node {name!r}. There are: {', '.join(known)}.")
    return known[wanted]


def _existing_or_raise(directory: Path) -> tuple[Layout, Record]:
    found = layout.existing(directory)
    if found is None:
        raise ClusterError(f"There is no cluster in {directory}. Start one: slurm-cluster up --dir '{directory}'")
    return found


def _refuse_other_shape(directory: Path, present: Options, wanted: Options) -> None:
    changed = [
        f"{name} is {value!r}, not {getattr(wanted, name)!r}"
        for name, value in vars(present).items()
        if value != getattr(wanted, name)
    ]
    if changed:
        raise ClusterError(
            f"The cluster in {directory} is up with other options: {'; '.join(changed)}. "
            f"Take it down first: slurm-cluster down --dir '{directory}'"
        )


def _start_watcher(where: Layout, owner_pid: int) -> None:
    """A process of its own: whoever wants the cluster may be killed with no chance to clean up."""
    script = Path(__file__).resolve().parents[1] / "slurm-cluster"
    command = [sys.executable, str(script), "watch", "--dir", str(where.dir), "--owner-pid", str(owner_pid)]
    with (where.log / "watcher.out").open("ab") as out:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=daemons.daemon_environment(where),
            cwd="/",
            start_new_session=True,
        )


def _slurm_version() -> tuple[int, int]:
    done = subprocess.run([daemons.which("slurmd") or "slurmd", "-V"], capture_output=True, text=True, timeout=10)
    numbers = done.stdout.split()[-1].split(".") if done.stdout else []
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 and numbers[0].isdigit() else (0, 0)
