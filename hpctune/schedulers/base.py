"""The scheduler interface: it gets values and returns a decision; it never sees the driver."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from hpctune.model.decisions import CONTINUE, Decision
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.controller import WORDS, Controller, adapt, base_choice


class SchedulerPolicy(Protocol):
    """What the engine asks of a scheduler.

    Calls come in the order of the journal; after a crash they are repeated in that order with their answers thrown
    away, so a scheduler must be a function of what it was told (and of a seed), not of the clock. ``choose`` and
    ``milestone`` are questions, asked as often as need be and never repeated: they must change nothing.

    A synchronous scheduler (class attribute ``synchronous = True``) wants every trial to leave its job rather than go
    on unjudged if the driver does not answer at a milestone in time.
    """

    synchronous: bool

    def complete_config(self, index: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration that trial number ``index`` gets, given what the searcher suggests; a question as well."""
        ...

    def on_trial_add(self, trial: Trial) -> None:
        """A trial exists; it has not run yet."""
        ...

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """A counted result of a running trial."""
        ...

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """The trial ended in good order; ``row`` is its last result (empty: it had none)."""
        ...

    def on_trial_error(self, trial: Trial) -> None:
        """The trial ended in error."""
        ...

    def on_search_exhausted(self) -> None:
        """The searcher has no more trials to give (until the experiment is resumed with more)."""
        ...

    def decisions_on_others(self) -> Sequence[tuple[str, Decision]]:
        """What follows from what it was told last for other trials, as (trial id, decision); asked after every call.

        Each decision is handed out once. Paused trials may be stopped, exploit, or be given other resources as well.
        """
        ...

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """Which of the ``waiting`` trials (pending or paused, oldest first) gets the next free place; None: none.

        Where the answer is None a new trial gets the place. ``idle``: there is no new trial now, so the place stays
        free if the answer is None again.
        """
        ...

    def never_resumed(self, active: Sequence[Trial]) -> Collection[str]:
        """The ids of the paused trials that no result still to come can make it choose again. They end then.

        ``active``: all trials that are not over, with those.

        It is a question like ``choose``, asked after the searcher has given its last trial. A scheduler need not have
        this method.
        """
        ...

    def milestone(self, trial: Trial) -> float | None:
        """The value of the time attribute at whose report the trial is to wait for a decision; None: never.

        Two more questions make trials independent of the driver, if a scheduler has them: ``milestone_after(trial,
        value)``, the milestone after that one, and ``end(trial)``, the value at which the trial ends in any case.
        """
        ...


class FIFOScheduler:
    """First come, first served; every trial runs to its end. Derive from it to write a scheduler of your own.

    ``CONTINUE``, ``PAUSE``, ``STOP`` and ``NOOP`` may be returned as decisions; ``Pause("why")`` and ``Stop("why")``
    give a reason of their own. Methods that are written for Ray Tune, with a controller as their first argument, work
    as well, in this class and in every scheduler (see ``controller.py``).
    """

    synchronous = False
    needs_controller = False
    CONTINUE: ClassVar[Decision] = WORDS["CONTINUE"]
    PAUSE: ClassVar[Decision] = WORDS["PAUSE"]
    STOP: ClassVar[Decision] = WORDS["STOP"]
    NOOP: ClassVar[Decision] = WORDS["NOOP"]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adapt(cls)

    @property
    def controller(self) -> Controller:
        """What methods that are written for Ray Tune get as their first argument."""
        made: Controller | None = vars(self).get("_controller")
        if made is None:
            made = self._controller = Controller()
        return made

    def complete_config(self, index: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """As it is."""
        return config

    def on_trial_add(self, trial: Trial) -> None:
        """Nothing to note."""

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Always go on."""
        return CONTINUE

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """Nothing to note."""

    def on_trial_error(self, trial: Trial) -> None:
        """Nothing to note."""

    def on_search_exhausted(self) -> None:
        """Nothing to note."""

    def decisions_on_others(self) -> Sequence[tuple[str, Decision]]:
        """None."""
        return ()

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The oldest that has not been paused; one that was paused only if nothing else can use the place."""
        pending = next((t for t in waiting if t.phase is Phase.PENDING), None)
        if pending is not None:
            return pending.trial_id
        return waiting[0].trial_id if idle and waiting else None

    def choose_trial_to_run(self, controller: Any) -> Any:
        """The same choice under Ray Tune's name, for a subclass that calls it."""
        return base_choice(self, controller)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        """A trial that waited has ended; under Ray Tune's name, for a subclass that calls it."""

    def debug_string(self) -> str:
        """The scheduler in a few words."""
        return f"Using {type(self).__name__}"

    def never_resumed(self, active: Sequence[Trial]) -> Collection[str]:
        """None: each may get a place some time."""
        return ()

    def milestone(self, trial: Trial) -> float | None:
        """None: nothing is ever decided."""
        return None

    def milestone_after(self, trial: Trial, value: float) -> float | None:
        """The milestone that follows ``value``, as far as is known now; None: none, or not known."""
        return None

    def end(self, trial: Trial) -> float | None:
        """The value of the time attribute at which the trial ends in any case; None: there is no such value."""
        return None


adapt(FIFOScheduler)
