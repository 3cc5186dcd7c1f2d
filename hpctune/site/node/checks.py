"""Interpretation of a node's answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hpctune.site.findings import Advice, Check, Mark, Setting, seconds
from hpctune.site.node.facts import NodeFacts
from hpctune.version import VERSION

_SLOW_IMPORT_S = 5.0
_SKEW_OK_S = 2.0


def judge_node(node: NodeFacts, here: NodeFacts, *, gpus_asked: int) -> Advice:
    """``here``: the same about this machine. ``gpus_asked``: how many the job had asked for."""
    area = f"Node {node.host}"
    checks = [
        _python(area, node, here),
        _imported(area, node),
        *_packages(area, node.packages, here.packages),
        *_clock(area, node),
        *_environment(area, node),
        *_gpus(area, node, gpus_asked),
    ]
    settings: tuple[Setting, ...] = ()
    if node.executable and here.executable and Path(node.executable).parent != Path(here.executable).parent:
        settings = (Setting("python", here.executable, "the interpreter of this session"),)
    return Advice(tuple(checks), settings)


def _python(area: str, node: NodeFacts, here: NodeFacts) -> Check:
    found = f"Python {node.python} ({node.executable})"
    if node.python.split(".")[:2] == here.python.split(".")[:2]:
        return Check(area, "ok", found)
    meaning = (
        f"Here it is {here.python}: pickled code may not load. One environment for both: SlurmOptions(python=...)."
    )
    return Check(area, "fail", found, meaning)


def _imported(area: str, node: NodeFacts) -> Check:
    if node.imported_s is None:
        meaning = "Trials cannot start. Install hpctune where nodes see it: SlurmOptions(python=..., setup=...)."
        return Check(area, "fail", f"'import hpctune' fails there: {node.import_error}", meaning)
    if node.version and node.version != VERSION:
        return Check(area, "fail", f"hpctune {node.version} there, {VERSION} here", "Use one environment for both.")
    found = f"'import hpctune' takes {seconds(node.imported_s)} there"
    if node.imported_s > _SLOW_IMPORT_S:
        meaning = (
            "Each job begins with it. A container image or a copy on a local disk is quicker than a network filesystem."
        )
        return Check(area, "warn", found, meaning)
    return Check(area, "ok", found)


def _packages(area: str, there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[Check]:
    differing = [f"{name} {there.get(name) or 'missing'} (here {version})" for name, version in here.items()
                 if version and there.get(name, version) != version]  # fmt: skip
    if differing:
        what = f"other versions there: {', '.join(differing)}"
        yield Check(area, "warn", what, "Pickled objects may not load. Use one environment for both.")
    elif there:
        yield Check(area, "ok", f"the same versions of {len(there)} packages as here")


def _clock(area: str, node: NodeFacts) -> Iterator[Check]:
    if node.skew_s is None:
        return
    sure = f" (give or take {seconds(node.skew_error_s)})"
    off = abs(node.skew_s)
    if off <= max(_SKEW_OK_S, node.skew_error_s):
        yield Check(area, "ok", f"its clock agrees with ours{sure}")
        return
    way = "ahead" if node.skew_s > 0 else "behind"
    mark: Mark = "info" if off < 60 else "warn"
    yield Check(
        area, mark, f"its clock is {seconds(off)} {way}{sure}", "hpctune does not rely on it; your own code may."
    )


def _environment(area: str, node: NodeFacts) -> Iterator[Check]:
    if node.leaked:
        what = f"variables of the submitting shell or job are set there: {', '.join(node.leaked[:6])}"
        yield Check(area, "warn", what, "They may steer srun inside your trials. Is it a profile that sets them?")
    else:
        yield Check(area, "ok", "no SBATCH_* or SLURM_* of the submitting side is set there")
    if node.tools and not node.tools.get("srun"):
        yield Check(area, "warn", "srun is not on PATH there", "Let the worker run in the batch shell: use_srun=False.")
    if node.tools and not node.tools.get("scontrol"):
        yield Check(area, "ok", "scontrol is not on PATH there", "hpctune needs no command of Slurm on nodes.")


def _gpus(area: str, node: NodeFacts, asked: int) -> Iterator[Check]:
    visible = node.visible_gpus
    if asked:
        count = len([v for v in (visible or "").split(",") if v.strip()])
        if count >= asked:
            listed = "" if node.listed_gpus is None else f", nvidia-smi lists {node.listed_gpus}"
            yield Check(area, "ok", f"the job sees its GPU (CUDA_VISIBLE_DEVICES={visible}{listed})")
        else:
            meaning = "The job asked for one. Does the partition have GPUs, and is Gres set up?"
            yield Check(area, "fail", f"no GPU is visible (CUDA_VISIBLE_DEVICES={visible or 'not set'})", meaning)
    elif visible:
        yield Check(area, "info", f"GPUs are visible without being asked for: CUDA_VISIBLE_DEVICES={visible}")
