"""Finds out, before a script is run, whether it can define a search. A plain training script would run to its end."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpctune.common.text import quoted
from hpctune.errors import ConfigFileError
from hpctune.interop.submissions import submits_in_python

_PACKAGES = frozenset({"hpctune", "ray"})
_KERAS_TUNER = frozenset({"keras_tuner", "kerastuner"})
_OPTUNA = frozenset({"optuna", "optuna_integration"})
_DEFINED = frozenset({"tuner", "experiment"})
MANY = 1000
"""Calls in a loop, whose number is unknown."""
_MAX_FILES = 200
"""Modules beside the script that are read at most."""


@dataclass(slots=True)
class Script:
    """What the text of a script says. ``searches``: it, or a module beside it that it imports, has to do with a search;
    ``imports_ray``, ``imports_optuna``, ``imports_keras_tuner``: one of them imports that; ``optimizes``,
    ``calls_search``: one calls a method ``optimize``, ``search``; ``calls_wandb_agent``, ``calls_wandb_sweep``: how
    often one calls ``wandb.agent``, ``wandb.sweep`` at most, MANY in a loop; ``calls_sbatch``: the script itself calls
    the program ``sbatch``."""

    searches: bool = False
    imports_ray: bool = False
    imports_optuna: bool = False
    optimizes: bool = False
    calls_wandb_agent: int = 0
    calls_wandb_sweep: int = 0
    calls_sbatch: bool = False
    imports_keras_tuner: bool = False
    calls_search: bool = False

    @property
    def is_optunas(self) -> bool:
        """Whether it is a script for Optuna that knows nothing of us."""
        return self.imports_optuna and self.optimizes and not self.searches

    @property
    def is_keras_tuners(self) -> bool:
        """Whether it is a script for KerasTuner that knows nothing of us."""
        return self.imports_keras_tuner and self.calls_search and not self.searches and not self.is_optunas


def look_at(path: Path) -> Script:
    """Look at the script at ``path`` and at the modules in its directory that it imports. Runs nothing."""
    script, root, waiting, seen = Script(), path.absolute().parent, [path.absolute()], set[Path]()
    while waiting and len(seen) < _MAX_FILES:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):  # it may be anything
            script.searches = True
            continue
        imported = list(_imported(tree))
        packages = {name.partition(".")[0] for name in imported}
        asks = _asks_for_ray(tree)
        theirs = bool(packages & _KERAS_TUNER)  # whose objects people name ``tuner``
        defines = bool(packages & _PACKAGES) or (_defines(tree) and not theirs)
        script.searches = script.searches or defines or asks
        if "wandb" in packages:
            script.calls_wandb_agent = max(script.calls_wandb_agent, _calls_of_wandb(tree, "agent"))
            script.calls_wandb_sweep = max(script.calls_wandb_sweep, _calls_of_wandb(tree, "sweep"))
        script.calls_sbatch = script.calls_sbatch or (file == path.absolute() and submits_in_python(tree))
        script.imports_ray = script.imports_ray or "ray" in packages or asks
        script.imports_optuna = script.imports_optuna or bool(packages & _OPTUNA)
        script.imports_keras_tuner = script.imports_keras_tuner or theirs
        script.optimizes = script.optimizes or _calls(tree, "optimize", "OptunaSearchCV")
        script.calls_search = script.calls_search or _calls(tree, "search")
        for name in imported:
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:length])
                waiting += [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()]
    return script


def refuse_plain(path: Path, script: Script) -> None:
    """Raises ConfigFileError unless ``script``, found at ``path``, has to do with a search: an import of hpctune, a
    ``tuner`` or an ``experiment``, a study of Optuna that is optimized, or a tuner of KerasTuner that searches."""
    if script.imports_optuna and not script.searches and not script.optimizes:
        raise ConfigFileError(
            f"{path} imports Optuna and calls no study.optimize(objective, ...), so there is nothing to run as jobs. "
            "It was not run. A loop over study.ask() and study.tell(), or the steps of LightGBMTuner, cannot be "
            "divided into jobs: make a function objective(trial), and call study.optimize(objective, n_trials=...)."
        )
    if script.imports_keras_tuner and not script.searches and not script.optimizes and not script.calls_search:
        raise ConfigFileError(
            f"{path} imports KerasTuner and calls no tuner.search(...), so there is nothing to run as jobs. It was not "
            "run."
        )
    if not script.searches and not script.is_optunas and not script.is_keras_tuners:
        raise ConfigFileError(_words(path))


def _defines(tree: ast.Module) -> bool:
    """Whether the module defines, or imports, what ``hpctune run`` looks for."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return bool(stored & _DEFINED) or any(
        alias.name == "*" or (alias.asname or alias.name) in _DEFINED
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def _calls(tree: ast.Module, method: str, instead: str = "") -> bool:
    """Whether the module calls ``method`` of something, or what is named ``instead`` and calls it itself."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = [(isinstance(f, ast.Attribute), getattr(f, "attr", getattr(f, "id", ""))) for f in calls]
    return any(name == instead or (is_method and name == method) for is_method, name in names)


def _asks_for_ray(tree: ast.Module) -> bool:
    """Whether the module asks another package to search with Ray: FLAML (``use_ray=``), Transformers (``backend=``)."""
    keywords = (word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords)
    return any(
        isinstance(word.value, ast.Constant)
        and (
            (word.arg == "use_ray" and bool(word.value.value)) or (word.arg == "backend" and word.value.value == "ray")
        )
        for word in keywords
    )


def _calls_of_wandb(tree: ast.Module, name: str) -> int:
    """How often ``wandb.NAME(...)`` is called at most, or ``NAME(...)`` that was imported from wandb."""
    named = any(
        isinstance(node, ast.ImportFrom) and node.module == "wandb" and any(a.name == name for a in node.names)
        for node in ast.walk(tree)
    )
    wandb = _wandb_names(tree)

    def is_call(node: ast.Call) -> bool:
        f = node.func
        return (isinstance(f, ast.Attribute) and f.attr == name and ast.unparse(f.value) in wandb) or (
            named and isinstance(f, ast.Name) and f.id == name
        )

    found = sum(isinstance(node, ast.Call) and is_call(node) for node in ast.walk(tree))
    return max(_times(tree.body, is_call, _functions(tree)), 1) if found else 0


def _functions(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    return {
        node.name: node.body for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def _times(nodes: Sequence[ast.AST], is_call: Callable[[ast.Call], bool], functions: dict[str, list[ast.stmt]]) -> int:
    """How often the code makes such a call at most, directly or in one of the ``functions``; at most MANY."""
    total = 0
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If):
            inside = max(_times(branch, is_call, functions) for branch in (node.body, node.orelse))
            inside += _times([node.test], is_call, functions)
        else:
            inside = _times(list(ast.iter_child_nodes(node)), is_call, functions)
        if isinstance(node, ast.Call) and is_call(node):
            inside += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            others = {name: body for name, body in functions.items() if name != node.func.id}
            inside += _times(functions[node.func.id], is_call, others)
        loops = isinstance(node, (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp))
        total += MANY if inside and loops else inside
    return min(total, MANY)


def _wandb_names(tree: ast.Module) -> set[str]:
    """The names by which the module knows wandb."""
    aliases = (a for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names if a.name == "wandb")
    return {alias.asname or alias.name for alias in aliases}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def _words(path: Path) -> str:
    name, program = path.name, f"python {quoted(path)}"
    return (
        f"{path} defines no search: it imports no hpctune, and has no 'tuner' and no 'experiment'. It was not run. "
        f"Three ways to tune it:\n"
        f"  1. as it is, if it takes parameters as options and prints the metric:\n"
        f"       hpctune sweep {shlex.quote(program)} lr=log:1e-4..1e-1 --metric loss --min --num-samples 20\n"
        f"     It may also report: import hpctune; hpctune.report(loss=loss)\n"
        f"  2. the same as a file: in a new file tune.py\n"
        f"       import hpctune as tune\n"
        f'       tuner = tune.Tuner(tune.Command("{program} --lr {{lr}}"), '
        f'param_space={{"lr": tune.loguniform(1e-4, 1e-1)}},\n'
        f'                          tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=20))\n'
        f"     where {name} prints a line 'hpctune: loss=0.3'; then: hpctune run {quoted(path.with_name('tune.py'))}\n"
        f"  3. as a function: def train(config): ... hpctune.report(loss=loss), and "
        f"tuner = hpctune.Tuner(train, param_space=...)"
    )
