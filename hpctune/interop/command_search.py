"""``CommandSearch``: a search over a program, as data. Command lines, files and batch scripts become one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import is_number
from hpctune.errors import UsageError
from hpctune.interop.rendering import Call, call, made, source
from hpctune.model.rows import flatten
from hpctune.space.domain import Domain
from hpctune.space.tree import unresolved

if TYPE_CHECKING:
    from hpctune.tuner import Tuner

SAMPLES = 20
"""Number of trials if nothing says how many."""
_STARTS_TASKS = re.compile(r"^[^#\n]*(?<![\w./-])(srun|mpirun|mpiexec)\s", re.MULTILINE)
Named = str | Mapping[str, Any] | None
"""A searcher or a scheduler: its name, or a mapping with its ``name`` and its options."""


@dataclass(slots=True)
class CommandSearch:
    """A search over a program.

    - ``command``, ``cwd``, ``env``: of :class:`hpctune.Command`.
    - ``kind``, ``options``: the class of the program, as "module:name", and further arguments of it. ``prints``:
      whether its metric is looked for in what it prints without a ``pattern``.
    - ``space``: the search space, with domains. ``rows``: the configurations to try, in place of samples. ``exact``:
      a row may lack parameters that others have, and its trial does not have them.
    - ``metric``, ``mode``: what is optimized; None: nothing; several: a list, or text with commas. A line of the
      program's output has the first one and, in the form NAME=VALUE, the others. ``pattern``: a regular expression that
      finds the metric in the program's output; None: the usual forms.
    - ``num_samples``: None: as many as there are rows, one for a space without domains, else SAMPLES.
    - ``slurm``: fields of SlurmOptions. ``cluster``: its name. ``resources``: of a trial, as ``{"cpu": 2}``.
    - ``failure``, ``checkpoint``: arguments of FailureConfig and CheckpointConfig. ``tune``, ``run``: further arguments
      of TuneConfig and RunConfig.
    """

    command: str | Sequence[str]
    kind: str = "hpctune:Command"
    options: Mapping[str, Any] = field(default_factory=dict)
    prints: bool = True
    space: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] | None = None
    exact: bool = False
    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None
    pattern: str | None = None
    num_samples: int | None = None
    search_alg: Named = None
    scheduler: Named = None
    seed: int | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Any = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None
    ssh: Mapping[str, Any] = field(default_factory=dict)
    workers: int | str | None = None
    failure: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many samples are taken."""
        if self.num_samples is not None:
            return self.num_samples
        if self.rows is not None:
            return len(self.rows)
        return SAMPLES if any(isinstance(leaf, Domain) for leaf in unresolved(self.space).values()) else 1

    def tuner(self) -> Tuner:
        """The Tuner. Raises UsageError and SearchSpaceError for values that are impossible."""
        tuner: Tuner = made(self._call())
        return tuner

    def source(self, heading: str) -> str:
        """A config file in Python that means the same. ``heading``: its docstring."""
        return source("tuner", self._call(), heading)

    def _call(self) -> Call:
        metric = self.metric or ("metric" if self.pattern else None)
        metrics = several(metric)
        parse = None
        if metric is not None and (self.prints or self.pattern is not None):
            found_by = () if self.pattern is None else (self.pattern,)
            parse = call("hpctune.worker.printed:PrintedMetric", metrics[0], *found_by)
        program = call(
            self.kind, self.command, parse=parse, cwd=self.cwd, env=dict(self.env) or None,
            resources=self.resources, **self.options,
        )  # fmt: skip
        tune_config = call(
            "hpctune:TuneConfig", metric=metrics if len(metrics) > 1 else metric,
            mode=None if metric is None else self.mode or "min",
            num_samples=self.samples, search_alg=self._searcher(), scheduler=_named("scheduler", self.scheduler),
            **self.tune,
        )  # fmt: skip
        run = dict(self.run)
        if "stop" in run:
            run["stop"] = self._stop(metrics)
        if self.failure:
            run["failure_config"] = call("hpctune:FailureConfig", **self.failure)
        if self.checkpoint:
            run["checkpoint_config"] = call("hpctune:CheckpointConfig", **self.checkpoint)
        return call(
            "hpctune:Tuner", program, param_space=dict(self.space), tune_config=tune_config,
            run_config=call("hpctune:RunConfig", **run) if run else None,
            **self._where(),
        )  # fmt: skip

    def _stop(self, metrics: Sequence[str]) -> Any:
        """When trials end. A threshold of a metric that is minimized is a value to come down to."""
        given = self.run.get("stop")
        if not isinstance(given, Mapping):
            return given
        modes = [self.mode or "min"] * len(metrics) if isinstance(self.mode, str | None) else self.mode
        minimized = {metric for metric, mode in zip(metrics, modes, strict=False) if mode == "min"}
        flat = flatten(given)
        goals = {key: value for key, value in flat.items() if key in minimized and is_number(value)}
        if not goals:
            return given
        rest = {key: value for key, value in flat.items() if key not in goals}
        stoppers = [call("hpctune.stopper:TrialTargetStopper", key, value, "min") for key, value in goals.items()]
        return [*([rest] if rest else []), *stoppers] if rest or len(stoppers) > 1 else stoppers[0]

    def _where(self) -> dict[str, Any]:
        """The arguments of Tuner about the cluster."""
        if self.ssh:
            return {"cluster": call("hpctune:SshOptions", **self.ssh)}
        if self.cluster == "local" and self.workers is not None:
            return {"cluster": call("hpctune:LocalOptions", workers=self.workers)}
        slurm = dict(self.slurm) if self.workers is None else {**self.slurm, "workers": self.workers}
        text = self.command if isinstance(self.command, str) else " ".join(map(str, self.command))
        if slurm and _STARTS_TASKS.search(text):
            slurm.setdefault("use_srun", False)  # so that its own srun may use the job's resources
        return {"cluster": self.cluster, "slurm": call("hpctune:SlurmOptions", **slurm) if slurm else None}

    def _searcher(self) -> Any:
        name = self.search_alg.get("name") if isinstance(self.search_alg, Mapping) else self.search_alg
        if self.rows is not None:
            if name is not None:
                raise UsageError(
                    f"The trials are listed, so search_alg {name!r} has nothing to choose. Keep one of them."
                )
            points = [dict(row) for row in self.rows]
            if self.exact:
                return call("hpctune.search:ListedConfigurations", points)
            return call("hpctune.search:BasicVariantGenerator", points_to_evaluate=points, random_state=self.seed)
        if name in (None, "random", "grid"):
            options = (
                {k: v for k, v in self.search_alg.items() if k != "name"}
                if isinstance(self.search_alg, Mapping)
                else {}
            )
            if self.seed is None and not options:
                return None
            return call("hpctune.search:BasicVariantGenerator", **{"random_state": self.seed, **options})
        return _named("searcher", self.search_alg, seed=self.seed)


def _named(kind: str, given: Named, **more: Any) -> Any:
    """The name itself, or the call that makes it with its options."""
    options = {name: value for name, value in more.items() if value is not None}
    if isinstance(given, Mapping):
        name, options = given.get("name"), {**options, **{key: each for key, each in given.items() if key != "name"}}
        if not isinstance(name, str):
            raise UsageError(f"A {kind} with options needs its name: {{name: asha, max_t: 100}}; not {dict(given)!r}.")
    else:
        name = given
    if name is None or not options:
        return name
    return call(f"hpctune:create_{kind}", name, **options)


def several(metric: str | Sequence[str] | None) -> list[str]:
    """The metrics: ``loss,latency`` are two, ``f(x, y)`` is one."""
    if metric is None:
        return []
    return [name.strip() for name in re.split(r",(?![^(]*\))", metric)] if isinstance(metric, str) else list(metric)
