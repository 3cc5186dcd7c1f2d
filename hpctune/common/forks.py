"""What is this process's alone: its handlers of signals, and its descriptors. A child that is forked from it has none.

A forked child is the user's: a process of a pool, a loader of data, a program that is about to be executed. There a
signal does what it does without us, and a file of ours is not open. See the ``after_in_child`` hooks of ``os.fork``.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Protocol

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Own(Protocol):
    """Something that a forked child must not have."""

    def forget(self) -> None:
        """In a forked child: close what was inherited, without a word to anybody, and without touching any file."""


_things: weakref.WeakSet[Own] = weakref.WeakSet()
_ours: dict[int, Handler] = {}
"""By signal: the handler that we have set."""
_before: dict[int, Handler] = {}
"""By signal: what was there before us."""
_masks = threading.local()


def own(thing: Own) -> None:
    """Let forked children :meth:`~Own.forget` it, for as long as somebody here refers to it."""
    _things.add(thing)


def set_handler(number: int, handler: Handler) -> Handler:
    """``signal.signal``, for a handler of ours: in forked children the signal does what it did before there was one.

    Returns what was there, for :func:`put_back`.
    """
    previous = signal.signal(number, handler)
    if number not in _ours or previous is not _ours[number]:
        _before[number] = previous
    _ours[number] = handler
    return previous


def put_back(number: int, previous: Handler) -> None:
    """Undo :func:`set_handler`, which returned ``previous``."""
    signal.signal(number, signal.SIG_DFL if previous is None else previous)  # None: it was not Python's
    if number not in _ours:
        return  # this is a child that was forked meanwhile
    if previous is _before[number]:
        del _before[number], _ours[number]
    else:
        _ours[number] = previous


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Have these handlers while this lasts (main thread only)."""
    previous = {number: set_handler(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            put_back(number, handler)


def _hold_signals() -> None:
    """A signal that comes to the child before it has let go of our handlers waits until then."""
    if _ours:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ours)


def _release_signals() -> None:
    mask = _masks.__dict__.pop("before", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _let_go() -> None:
    """In the child."""
    for number, handler in _ours.items():
        if signal.getsignal(number) is handler:  # else it is the user's
            before = _before[number]
            signal.signal(number, signal.SIG_DFL if before is None else before)
    _ours.clear()
    _before.clear()
    _release_signals()
    things = list(_things)
    _things.clear()
    for thing in things:
        with suppress(OSError):  # the user's code has closed it
            thing.forget()


os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_let_go)
