#!/usr/bin/env python3
"""What starting up costs: CPU time beyond bare Python, modules, and heavy libraries, against limits.

    scripts/check_imports.py [--runs N]

Exits non-zero when a limit is broken. CPU time, not wall time: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Each costs tens to hundreds of milliseconds; none is needed to answer a question about files.
HEAVY = ("numpy", "pandas", "submitit", "tensorboardX", "paramiko", "rich", "cloudpickle")

_BARE = "pass"
# Runs the statement in argv[2] with the rest as its sys.argv, then writes the names of all modules to argv[1].
_PROBE = """
import sys
target, statement = sys.argv[1:3]
sys.argv = ["hpctune", *sys.argv[3:]]
before = set(sys.modules)
try:
    exec(statement)
except SystemExit as stop:
    code = stop.code
else:
    code = 0
loaded = sorted(set(sys.modules) - before)
import json
with open(target, "w") as out:
    json.dump({"modules": loaded, "code": code}, out)
"""
_EXPERIMENT = """
import sys
from pathlib import Path
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
paths = ExperimentPaths(Path(sys.argv[1]))
spec_file.write(paths, ExperimentSpec(experiment_id="0" * 8, name="probe", created_at=0.0, trainable="probe"))
"""
_MAIN = "from hpctune.cli.main import main; main()"


@dataclass(frozen=True)
class Case:
    """One way to start the program, and what it may cost."""

    name: str
    statement: str
    arguments: tuple[str, ...] = ()
    cpu_limit_ms: float | None = None
    modules_limit: int | None = None
    heavy_allowed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cost:
    """What one case did cost."""

    case: Case
    modules: tuple[str, ...]
    exit_code: int
    cpu_ms: float | None = field(default=None)

    @property
    def heavy(self) -> tuple[str, ...]:
        return tuple(name for name in HEAVY if name in self.modules)

    def complaints(self, cpu_factor: float = 1.0) -> list[str]:
        """The limits that are broken, in words; CPU time may exceed its limit by the factor."""
        case, broken = self.case, []
        if self.exit_code != 0:
            broken.append(f"{case.name}: ended with {self.exit_code}")
        if unwanted := sorted(set(self.heavy) - case.heavy_allowed):
            broken.append(f"{case.name}: loads {', '.join(unwanted)}")
        if case.modules_limit is not None and len(self.modules) > case.modules_limit:
            broken.append(f"{case.name}: {len(self.modules)} modules, limit {case.modules_limit}")
        limit = case.cpu_limit_ms
        if limit is not None and self.cpu_ms is not None and self.cpu_ms > limit * cpu_factor:
            broken.append(f"{case.name}: {self.cpu_ms:.0f} ms of CPU, limit {limit * cpu_factor:.0f} ms")
        return broken


def cases(directory: Path) -> list[Case]:
    """`directory`: an experiment to ask about, see `make_experiment`."""
    found = [Case("import hpctune", "import hpctune", cpu_limit_ms=60)]
    if cli_exists():
        found += [
            Case("hpctune --help", _MAIN, ("--help",), cpu_limit_ms=150),
            Case("hpctune status DIR", _MAIN, ("status", str(directory)), modules_limit=250),
        ]
    return found


def make_experiment(directory: Path) -> None:
    """Write the smallest experiment there is, in a process of its own: this one shall load nothing of hpctune."""
    subprocess.run([sys.executable, "-c", _EXPERIMENT, str(directory)], check=True, env=_environment())


def cli_exists() -> bool:
    return (Path(__file__).resolve().parents[1] / "hpctune" / "cli" / "main.py").is_file()


def measure(case: Case, runs: int) -> Cost:
    """Modules from one run; the CPU time, if `runs`, as the median of so many, less that of bare Python."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note.json"
        command = [sys.executable, "-c", _PROBE, str(note), case.statement, *case.arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        if done.returncode != 0:
            raise RuntimeError(f"{case.name}: {done.stderr}")
        told = json.loads(note.read_text())
    cpu_ms = None
    if runs:
        plain = [sys.executable, "-c", _quiet(case.statement, case.arguments)]
        pairs = [(_cpu_ms(plain), _cpu_ms([sys.executable, "-c", _BARE])) for _ in range(runs)]
        cpu_ms = statistics.median(first for first, _ in pairs) - statistics.median(second for _, second in pairs)
    code = told["code"] if isinstance(told["code"], int) else int(told["code"] is not None)
    return Cost(case, tuple(told["modules"]), code, cpu_ms)


def _quiet(statement: str, arguments: Sequence[str]) -> str:
    return f"import sys; sys.argv = {['hpctune', *arguments]!r}; {statement}"


def _cpu_ms(command: Sequence[str]) -> float:
    """User and system time of one child, from the kernel's own account of that very child."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return (usage.ru_utime + usage.ru_stime) * 1000


def _environment() -> Mapping[str, str]:
    """Without coverage hooks and the like, which would be counted as ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTHONSTARTUP"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=9, metavar="N", help="runs per case; the median counts (9)")
    runs = parser.parse_args().runs
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        if cli_exists():
            make_experiment(Path(folder))
        for case in cases(Path(folder)):
            cost = measure(case, runs)
            heavy = ", ".join(cost.heavy) or "none"
            print(f"{case.name:20} {cost.cpu_ms or 0:6.1f} ms  {len(cost.modules):4} modules  heavy: {heavy}")
            broken += cost.complaints()
    for complaint in broken:
        print(f"TOO MUCH: {complaint}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
