"""Running a trainable of any form to its end. Each runner returns normally if the trainable is done."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.common.log import log
from hpctune.errors import TrainableError
from hpctune.model.records import Outcome
from hpctune.storage import checkpoints
from hpctune.worker.actor_reuse import kept
from hpctune.worker.command import Command
from hpctune.worker.context import RunningTrial
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.program import run_command
from hpctune.worker.ranks.trainable import DistributedTrainable
from hpctune.worker.session import Session
from hpctune.worker.status_reporter import StatusReporter
from hpctune.worker.trainable import Trainable, read_checkpoint, step_once, write_checkpoint
from hpctune.worker.trial_end import calling_at_end

FORMS = "train(config), train(config, checkpoint_dir=None) or train(config, reporter)"


def is_class_trainable(trainable: object) -> bool:
    """Whether ``trainable`` is a class trainable of Ray Tune's kind: derived from Trainable."""
    return inspect.isclass(trainable) and issubclass(trainable, Trainable)


def form_of(trainable: object) -> str:
    """ "class", "command", "distributed", "config", "checkpoint_dir" or "reporter".

    Raises TrainableError if it is not a trainable.
    """
    if isinstance(trainable, Command):
        return "command"
    if isinstance(trainable, DistributedTrainable):
        if isinstance(trainable.function, (Command, DistributedTrainable)) or inspect.isclass(trainable.function):
            raise TrainableError(f"Only a function runs in several processes for a trial, not {trainable.function!r}.")
        form_of(trainable.function)
        return "distributed"
    if inspect.isclass(trainable):
        if issubclass(trainable, Trainable):
            return "class"
        raise TrainableError(
            f"{trainable.__name__} is a class that is not derived from hpctune.Trainable. "
            "Derive it from hpctune.Trainable."
        )
    if not callable(trainable):
        raise TrainableError(f"A trainable is a function, a Trainable class or a Command, not {trainable!r}.")
    name = getattr(trainable, "__name__", type(trainable).__name__)
    if inspect.iscoroutinefunction(trainable) or inspect.isasyncgenfunction(trainable):
        raise TrainableError(f"{name} is an async function. Use a plain function that calls asyncio.run(...).")
    try:
        parameters = list(inspect.signature(trainable).parameters.values())
    except (TypeError, ValueError):
        return "config"
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not positional:
        raise TrainableError(f"{name} takes no argument. A function trainable is {FORMS}.")
    if any(p.name == "checkpoint_dir" for p in parameters[1:]):
        return "checkpoint_dir"
    reporter = _reporter_parameter(parameters)
    more = [p.name for p in needed[1:] if p is not reporter]
    if more:
        bound = ", ".join(f"{each}=..." for each in more)
        raise TrainableError(
            f"{name} needs {len(needed)} arguments: {', '.join(p.name for p in needed)}. A function trainable is "
            f"{FORMS}. Bind the others first: hpctune.with_parameters({name}, {bound})."
        )
    return "config" if reporter is None else "reporter"


def _reporter_parameter(parameters: Sequence[inspect.Parameter]) -> inspect.Parameter | None:
    """The parameter that Ray Tune 0.x fills with a report function, recognized by its name or its annotation."""

    def says_so(parameter: inspect.Parameter) -> bool:
        annotation = parameter.annotation
        said = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        return parameter.name == "reporter" or "reporter" in said.lower()

    return next((p for p in parameters[1:] if says_so(p)), None)


_known: tuple[Any, str] = (None, "")
"""The trainable of this process, and its form."""


def known_form(trainable: object) -> str:
    """:func:`form_of`, computed once for the trainable of all trials of a worker."""
    global _known
    if _known[0] is not trainable:
        _known = (trainable, form_of(trainable))
    return _known[1]


def run_trainable(trainable: Any, session: Session) -> None:
    """Run ``trainable`` to its end."""
    form = known_form(trainable)
    if form == "command":
        run_command(trainable, session)
    elif form == "class":
        run_class(trainable, session)
    elif form == "distributed":
        from hpctune.worker.ranks.head import run_distributed

        run_distributed(trainable, session)
    else:
        run_function(trainable, form, session)


# -- functions -----------------------------------------------------------------------------------------------------


def run_function(function: Callable[..., Any], form: str, session: RunningTrial) -> None:
    """Call the function; report what it yields or returns."""
    with calling_at_end():
        _call_function(function, form, session)


def _call_function(function: Callable[..., Any], form: str, session: RunningTrial) -> None:
    config = dict(session.control.config)
    if form == "checkpoint_dir":
        given = {} if session.restored is None else {"checkpoint_dir": str(session.restored)}
        required = inspect.signature(function).parameters["checkpoint_dir"].default is inspect.Parameter.empty
        value = function(config, **({"checkpoint_dir": None} if required else {}), **given)
    elif form == "reporter":
        parameter = _reporter_parameter(list(inspect.signature(function).parameters.values()))
        assert parameter is not None
        by_place = parameter.kind is parameter.POSITIONAL_ONLY
        reporter = StatusReporter()
        value = function(config, reporter) if by_place else function(config, **{parameter.name: reporter})
    else:
        value = function(config)
    if inspect.isgenerator(value):
        with contextlib.closing(value):  # its finally clauses run now, even if a reference to it remains
            for item in value:
                session.report(_row(item))
    elif value is not None and not (isinstance(value, Mapping) and not value):
        session.report(_row(value), final=True)


def _row(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, (int, float)) or hasattr(value, "item"):
        return {"_metric": value}
    raise TrainableError(f"A function trainable returns or yields dicts or numbers, not {value!r}.")


# -- classes -------------------------------------------------------------------------------------------------------


def run_class(cls: type[Trainable], session: Session) -> None:
    """Step the trainable until it is done or must end, and save the checkpoints that are due."""
    trainable = kept.make(cls, session.control.config)
    good: EndOfRun | None = None
    with contextlib.ExitStack() as stack:
        try:
            if session.restored is not None:
                read_checkpoint(trainable, session.restored)
            _steps(trainable, session)
        except EndOfRun as end:
            good = end
            raise
        finally:
            if not kept.keep(trainable, good):
                stack.enter_context(calling_at_end())
                clean_up(trainable)


def clean_up(trainable: Trainable) -> None:
    """Call its ``cleanup``. The trial is already over, so an error is logged and has no other effect."""
    try:
        trainable.stop()
    except Exception:
        _tell("hpctune: cleanup failed:")


def _steps(trainable: Trainable, session: Session) -> None:
    while True:
        row = step_once(trainable)
        if session.checkpoint_due(row) and can_save(trainable):
            _save(trainable, session)
        try:
            session.report(row)
        except EndOfRun as end:
            _finalize(trainable, session, end)
            raise


def _finalize(trainable: Trainable, session: Session, end: EndOfRun) -> None:
    """Save the last checkpoint if one is needed, and export models if requested, before the run ends.

    If this fails, a finished trial becomes failed; a trial that continues elsewhere uses an earlier checkpoint.
    """
    control = session.control
    goes_on = end.outcome in (Outcome.PAUSED, Outcome.INTERRUPTED)
    if end.outcome in (None, Outcome.FAILED):
        return
    saved = session.saved_at == session.counters.iteration
    try:
        if (goes_on or control.checkpoint_at_end) and can_save(trainable) and not saved:
            _save(trainable, session)
        if not goes_on and control.export_formats:
            trainable.export_model(list(control.export_formats), str(session.paths.root))
    except Exception as error:
        if not goes_on:
            session.fail("the last checkpoint or the export failed", error)
        _tell("hpctune: no checkpoint could be made before the run ended:")


def can_save(trainable: Trainable) -> bool:
    """Whether its class can make checkpoints."""
    return type(trainable).save_checkpoint is not Trainable.save_checkpoint


def _save(trainable: Trainable, session: Session) -> None:
    session.stage(session.retry_storage(lambda: _saved(trainable, session)))


def _saved(trainable: Trainable, session: Session) -> Path:
    """Save into a new staging directory; returns the directory."""
    directory = checkpoints.staging(session.paths)
    try:
        write_checkpoint(trainable, directory)
    except BaseException:
        checkpoints.discard(directory)
        raise
    return directory


def _tell(what: str) -> None:
    """Log ``what`` with the traceback of the current exception."""
    log.error(f"{what}\n{traceback.format_exc()}")
