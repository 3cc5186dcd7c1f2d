"""``--on CLUSTER``: the same command on a cluster that is reached over ssh. One mechanism for every command."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hpctune.version import VERSION

if TYPE_CHECKING:
    from hpctune.remote.session import Session

VARIABLE = "HPCTUNE_ON"
CLIENT_VERSION = "HPCTUNE_CLIENT_VERSION"
"""The variable by which a command over ssh says which version calls."""
COMMANDS = (
    "run",
    "status",
    "list",
    "best",
    "logs",
    "add",
    "stop",
    "resume",
    "timeline",
    "cost",
    "note",
    "sync",
    "fetch",
    "fsck",
    "doctor",
)
"""The commands that have the option."""
OUTPUTS = {"list": "output", "timeline": "gantt"}
"""Options that name a file to be written: it is brought here."""
_WORDS = "hpctune.words"
_HELP = (
    "On this cluster, over ssh: a name in ~/.config/hpctune/clusters.toml, a Host of ~/.ssh/config, or "
    f"user@host[:dir]. Also: the variable {VARIABLE}; --on '' then means here."
)


def option() -> click.Option:
    """The option; its value is in the context's ``meta`` only."""
    return click.Option(["--on"], metavar="CLUSTER", envvar=VARIABLE, expose_value=False, callback=_note, help=_HELP)


def _note(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta["hpctune.on"] = value or None


def tell_other_version() -> None:
    """Say so if this command was called over ssh by another version."""
    caller = os.environ.pop(CLIENT_VERSION, VERSION)
    if caller != VERSION:
        click.echo(f"hpctune is {VERSION} on this cluster, and {caller} where it was called.", err=True)


def cluster_of(ctx: click.Context) -> str | None:
    """The cluster that the command is for; None: this machine."""
    named: str | None = ctx.meta.get("hpctune.on")
    return named


def is_wanted(ctx: click.Context) -> bool:
    """Whether the command is for a cluster, also before click has come to the option."""
    typed: list[str] = ctx.meta.get(_WORDS, [])
    ours = typed[: typed.index("--")] if "--" in typed else typed
    named = os.environ.get(VARIABLE, "")
    for word, following in zip(ours, [*ours[1:], ""], strict=True):
        if word == "--on":
            named = following
        elif word.startswith("--on="):
            named = word.removeprefix("--on=")
    return bool(named)


def check(name: str, typed: list[str]) -> None:
    """Raise UsageError if a command that has no such option gets it."""
    ours = typed[: typed.index("--")] if "--" in typed else typed
    if name not in COMMANDS and any(word.partition("=")[0] == "--on" for word in ours):
        raise click.UsageError(
            f"hpctune {name} has no --on. Bring the experiment here: hpctune fetch NAME --on CLUSTER; then call it "
            f"without --on. Commands with --on: {', '.join(COMMANDS)}."
        )


def remember(ctx: click.Context, typed: list[str]) -> None:
    """Keep the words after the command's name, before click takes them apart."""
    ctx.meta[_WORDS] = list(typed)


def add_to(command: click.Command) -> click.Command:
    """Give a command the option, once. With it, the command runs there and not here."""
    if any(param.name == "on" for param in command.params) or command.callback is None:
        return command
    command.params.append(option())
    command.callback = _dispatched(command, command.callback)
    return command


def _dispatched(command: click.Command, here: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(here)
    def callback(*args: Any, **given: Any) -> Any:
        ctx = click.get_current_context()
        cluster = cluster_of(ctx)
        if cluster is not None:
            from hpctune.cli import words

            typed = words.without(command, ctx.meta.get(_WORDS, []), {"on"})
            ctx.exit(_there(cluster, command, typed, given))
        return here(*args, **given)

    return callback


def _there(named: str, command: click.Command, typed: list[str], given: dict[str, Any]) -> int:
    """Run the command on the cluster. Returns the exit code."""
    from hpctune.cli import fetchon, runon
    from hpctune.remote import address
    from hpctune.remote.session import Session

    with Session(address.find(named)) as session:
        if command.name == "run":
            return runon.run(session, command, typed, given)
        if command.name == "resume":
            return runon.resume(session, typed, given)
        if command.name == "fetch":
            return fetchon.fetch(session, given)
        if command.name == "doctor":
            runon.make_environment(session)
        return _passed(session, command, typed)


def _passed(session: Session, command: click.Command, typed: list[str]) -> int:
    from hpctune.cli import words
    from hpctune.remote import outputs, passthrough

    name = str(command.name)
    wanted = OUTPUTS.get(name)
    target = next((p.value for p in words.parts(command, typed) if wanted and p.option == wanted), None)
    if target is None or wanted is None:
        return passthrough.run(session, [name, *typed])
    with outputs.brought(session, target) as there:
        line = [name, *words.with_values(command, typed, {wanted: there})]
        return passthrough.run(session, line, {there: target})
