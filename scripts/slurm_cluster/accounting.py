"""The accounting database: a private MariaDB behind a Unix socket, slurmdbd, and one account for the user.

A job shows up in sacct some seconds late: slurmctld sends its news in batches.
"""

from __future__ import annotations

import subprocess

from . import config
from .daemons import Daemon, Started, accepts_tcp, accepts_unix, client_environment, start, wait_until, which
from .layout import Layout, user_name
from .options import ClusterError, Options

ACCOUNT = "acct"


def mariadb(layout: Layout) -> Daemon:
    # No passwords: the socket lies in a folder that only this user can enter.
    command = (
        "mariadbd",
        *_storage_settings(layout),
        "--skip-grant-tables",
        "--skip-networking",
        "--skip-log-bin",
        f"--socket={layout.db_socket}",
        f"--pid-file={layout.root}/db/pid",
        f"--log-error={layout.log}/mariadb.log",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
    )
    return Daemon("mariadb", command, (layout.log / "mariadb.log", layout.log / "mariadb.out"))


def slurmdbd(layout: Layout) -> Daemon:
    return Daemon("slurmdbd", ("slurmdbd", "-D"), (layout.log / "slurmdbd.log", layout.log / "slurmdbd.out"))


def write_files(layout: Layout, base_port: int) -> None:
    (layout.dir / "db" / "data").mkdir(exist_ok=True, mode=0o700)
    target = layout.dir / "slurmdbd.conf"
    target.touch(mode=0o600)  # slurmdbd refuses to read a file that others can read
    target.chmod(0o600)
    target.write_text(config.slurmdbd_conf(layout, base_port))


def start_mariadb(layout: Layout) -> Started:
    if not (layout.dir / "db" / "data" / "mysql").is_dir():
        _create_system_tables(layout)
    daemon = mariadb(layout)
    started = start(daemon, layout)
    wait_until(lambda: accepts_unix(layout.db_socket), "MariaDB to answer", [started], daemon.logs)
    return started


def start_slurmdbd(layout: Layout, base_port: int) -> Started:
    daemon = slurmdbd(layout)
    started = start(daemon, layout, {"MYSQL_UNIX_PORT": str(layout.db_socket)})
    port = config.database_port(base_port)
    wait_until(lambda: accepts_tcp(port), "slurmdbd to answer", [started], daemon.logs)
    return started


def _storage_settings(layout: Layout) -> tuple[str, ...]:
    """Nothing here outlives the cluster, so nothing is synced to the disk."""
    return (
        "--no-defaults",
        f"--datadir={layout.root}/db/data",
        f"--user={user_name()}",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
    )


def _create_system_tables(layout: Layout) -> None:
    """slurmdbd needs them for a stored procedure; without, it loses every association and says nothing."""
    program = which("mariadb-install-db") or "mariadb-install-db"
    command = [program, *_storage_settings(layout), "--skip-test-db", "--auth-root-authentication-method=normal"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def create_associations(options: Options, layout: Layout) -> None:
    limits = (f"MaxSubmitJobs={options.max_submit}",) if options.max_submit else ()
    _sacctmgr(layout, "add", "cluster", config.CLUSTER_NAME)
    _sacctmgr(layout, "add", "account", ACCOUNT, f"Cluster={config.CLUSTER_NAME}")
    _sacctmgr(layout, "add", "user", user_name(), f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}", *limits)


def _sacctmgr(layout: Layout, *arguments: str) -> None:
    command = [which("sacctmgr") or "sacctmgr", "--immediate", *arguments]
    done = subprocess.run(command, env=client_environment(layout), capture_output=True, text=True, timeout=60)
    # 1 with this text: it is there already, as after `up` repaired a cluster
    if done.returncode != 0 and "Nothing new added" not in done.stdout + done.stderr:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
