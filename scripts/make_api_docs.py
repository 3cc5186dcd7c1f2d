"""Write docs/python-api.md from the docstrings of what is public.

python scripts/make_api_docs.py            # write it
python scripts/make_api_docs.py --check    # only say whether it is up to date
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python-api.md"
HEAD = """# Python reference

Made from the docstrings by `scripts/make_api_docs.py`; do not edit it by hand. What Ray Tune has under `ray.tune` is
here under the same name in `hpctune`; names, arguments and defaults are the same unless a text says otherwise.
"""
SECTIONS: list[tuple[str, str, list[str]]] = [
    ("Running a search", "hpctune", ["run", "run_experiments", "Tuner", "TuneConfig", "RunConfig", "CheckpointConfig",
                                     "FailureConfig", "ResumeConfig", "Experiment", "register_trainable"]),
    ("Where trials run", "hpctune", ["SlurmOptions", "LocalOptions", "PlacementGroupFactory"]),
    ("Inside a trial", "hpctune", ["report", "get_checkpoint", "checkpoint_dir", "get_context", "TuneContext",
                                   "get_trial_id", "get_trial_name", "get_trial_dir", "get_trial_resources",
                                   "is_session_enabled", "Checkpoint"]),
    ("Trainables", "hpctune", ["Trainable", "Command", "with_parameters", "with_resources", "pin_in_object_store",
                               "get_pinned_object"]),
    ("Search spaces", "hpctune", ["uniform", "quniform", "loguniform", "qloguniform", "randn", "qrandn", "randint",
                                  "qrandint", "lograndint", "qlograndint", "choice", "sample_from", "grid_search"]),
    ("Searchers", "hpctune.search", ["BasicVariantGenerator", "Searcher", "ConcurrencyLimiter", "Repeater",
                                     "create_searcher"]),
    ("Schedulers", "hpctune.schedulers", ["FIFOScheduler", "ASHAScheduler", "MedianStoppingRule", "create_scheduler"]),
    ("Stoppers", "hpctune.stopper", ["Stopper", "MaximumIterationStopper", "TrialPlateauStopper",
                                     "ExperimentPlateauStopper", "TimeoutStopper", "FunctionStopper", "CombinedStopper",
                                     "NoopStopper"]),
    ("Results", "hpctune", ["ResultGrid", "Result", "ExperimentAnalysis", "Trial"]),
    ("Callbacks, loggers, reporters", "hpctune.logger", ["LoggerCallback", "JsonLoggerCallback", "CSVLoggerCallback",
                                                         "TBXLoggerCallback"]),
    ("", "hpctune", ["Callback", "ProgressReporter", "CLIReporter", "JupyterNotebookReporter"]),
    ("Helpers", "hpctune.utils", ["wait_for_gpu", "validate_save_restore", "diagnose_serialization", "warn_if_slow",
                                  "flatten_dict", "merge_dicts", "deep_update"]),
    ("Errors", "hpctune.errors", ["TuneError", "UsageError", "ConfigFileError", "NotAnExperimentError", "ResumeError",
                                  "NotYetSupportedError", "DriverAliveError", "LeaseLostError", "StorageError",
                                  "JournalError", "CheckpointError", "ClusterError", "RequestRejectedError",
                                  "ClusterUnavailableError", "TrainableError",
                                  "SearchSpaceError", "MetricError"]),
]  # fmt: skip


def main() -> int:
    """Write the page, or check it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print("docs/python-api.md is not what the docstrings say. Run: python scripts/make_api_docs.py", file=sys.stderr)
    return 1


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, module, names in SECTIONS:
        if title:
            parts.append(f"## {title}\n")
        for name in names:
            parts += entry(module, name, getattr(import_module(module), name))
    return "\n".join(parts).rstrip() + "\n"


def entry(module: str, name: str, thing: Any) -> Iterator[str]:
    """One function or class with its public methods."""
    yield f"### {module}.{name}\n"
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    if not is_error:
        yield f"```text\n{signature(name, thing)}\n```\n"
    else:
        yield f"Derived from {', '.join(f'`{base.__name__}`' for base in thing.__bases__)}.\n"
    yield f"{words(inspect.cleandoc(thing.__doc__ or ''))}\n"
    if inspect.isclass(thing) and not is_error:
        members = [member(key, value) for key, value in vars(thing).items() if not key.startswith("_")]
        listed = [text for text in members if text]
        if listed:
            yield "Methods and properties:\n"
            yield "\n".join(listed) + "\n"


def member(name: str, value: Any) -> str:
    """One method or property, on one line; "" where there is nothing to say."""
    plain = value.fget if isinstance(value, property) else getattr(value, "func", value)
    function = plain.__func__ if isinstance(plain, (classmethod, staticmethod)) else plain
    if not inspect.isfunction(function) or not function.__doc__:
        return ""
    is_property = function is not value and not isinstance(value, (classmethod, staticmethod))
    shown = name if is_property else signature(name, function, without_self=not isinstance(value, staticmethod))
    summary = inspect.cleandoc(function.__doc__).split("\n\n")[0]
    one_line = " ".join(shown.split()).replace("( ", "(").replace(", )", ")")
    return f"- `{one_line}`: {words(' '.join(summary.split()))}"


def signature(name: str, thing: Any, *, without_self: bool = False) -> str:
    """``name(parameter=default, ...)``, broken into lines where it is long."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(thing).parameters.values()]
    shown = [one for one in parameters if not one.name.startswith("_") or one.name == "_metric"]
    if without_self:
        shown = shown[1:]
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    texts: list[str] = []
    for index, parameter in enumerate(shown):
        named = parameter.kind is parameter.KEYWORD_ONLY
        if named and not any(p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL) for p in shown[:index]):
            texts.append("*")
        default = "" if parameter.default is parameter.empty else f"={_default(parameter.default)}"
        texts.append(f"{stars.get(parameter.kind, '')}{parameter.name}{default}")
    line = f"{name}({', '.join(texts)})"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(texts) + ",\n)"


def _default(value: Any) -> str:
    text = repr(value)
    if text.startswith("<"):  # an enum's value, or a dataclass's factory
        return repr(value.value) if hasattr(value, "value") else "..."
    return text


def words(text: str) -> str:
    """A docstring as Markdown: code marked its way, lists of arguments as lists."""
    text = re.sub(r":(?:class|meth|func|attr|data|mod):`[~.]?([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    text = re.sub(r"::\n\n((?: {4}.*\n?|\n)+)", lambda m: f":\n\n```text\n{inspect.cleandoc(m[1])}\n```\n", text)
    lines: list[str] = []
    listing = False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Raises|Returns|Attributes|Yields):", line):
            listing = True
            lines.append(f"{line[:-1]}:\n")
        elif listing and (found := re.match(r" {4}(\w[\w, .*]*): (.*)", line)):
            lines.append(f"- `{found[1]}`: {found[2]}")
        elif listing and line.startswith("    "):
            lines.append(f"  {line.strip()}" if lines[-1].startswith(("- ", "  ")) else line.strip())
        else:
            listing = listing and not line.strip()
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
