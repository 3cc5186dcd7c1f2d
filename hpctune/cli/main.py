"""The entry point ``hpctune``: finds the command, and turns every error into one message and an exit code."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from hpctune.cli import exitcodes, on
from hpctune.common import streams
from hpctune.errors import TuneError
from hpctune.version import VERSION

COMMANDS: dict[str, str] = {
    "run": "Tune what a config file defines.",
    "init": "Write a config file, by five questions.",
    "convert": "Write the Python config that another file means.",
    "sweep": "Tune a program as it is, from one command line.",
    "status": "Show how an experiment is doing, from any machine.",
    "top": "Look at experiments on the whole terminal: trials, curves, output, jobs.",
    "list": "List experiments, or the trials of one.",
    "best": "Show the best trials and their configs.",
    "plot": "Draw the best so far, learning curves, parameters, or a Pareto front.",
    "html": "Write one page with everything about experiments, to send to others.",
    "serve": "Show experiments in a browser, as they go on.",
    "export": "Write an experiment as an archive, for Optuna, MLflow and others, or as a table.",
    "dashboard": "Show experiments in optuna-dashboard, as they go on.",
    "timeline": "Show where the time of an experiment's jobs went, as a picture.",
    "cost": "Show the CPU, GPU and node hours of experiments, and what they were used for.",
    "note": "Keep remarks on an experiment or a trial.",
    "logs": "Show or follow the output of a trial.",
    "add": "Try more configurations in an experiment.",
    "confirm": "Run the best again with fresh seeds: is the best the best?",
    "stop": "Stop an experiment or some of its trials.",
    "resume": "Continue an experiment from its last state.",
    "sync": "Bring the copy of an experiment elsewhere up to date.",
    "fetch": "Bring an experiment here from its copy elsewhere.",
    "fsck": "Check an experiment's files, and repair what a crash left.",
    "doctor": "Check a site before the first run.",
    "completion": "Let a shell complete commands, experiments, trials and partitions.",
    "report": "Report a result from a shell script inside a trial.",
}
"""Every command with its summary; ``hpctune.cli.NAME`` holds it as ``command``."""
COMPLETING = "_HPCTUNE_COMPLETE"
"""Set by a shell that asks how a line may go on."""

OTHER_NAMES = {
    "rerun": "confirm",
    "ls": "list",
    "ps": "list",
    "kill": "stop",
    "cancel": "stop",
    "watch": "top",
    "tail": "logs",
    "ui": "serve",
    "continue": "resume",
    "restart": "resume",
}
"""Names under which users look for commands, as other tools call them."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        import_module("hpctune.common.log").show_messages()
        command = import_module(f"hpctune.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        command = on.add_to(command) if cmd_name in on.COMMANDS else command
        if COMPLETING in os.environ:
            import_module("hpctune.cli.complete").attach(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names of the commands, without importing them."""
        names = [CompletionItem(name, help=words) for name, words in COMMANDS.items() if name.startswith(incomplete)]
        return names or click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest a similar name."""
        name = args[0]
        on.remember(ctx, args[1:])
        if name not in COMMANDS and not name.startswith("-"):
            near = [OTHER_NAMES[name]] if name in OTHER_NAMES else difflib.get_close_matches(name, COMMANDS, 1, 0.5)
            hint = f"Did you mean: hpctune {near[0]}" if near else f"There are: {', '.join(COMMANDS)}."
            raise click.UsageError(f"There is no command {name!r}. {hint}", ctx)
        if name in COMMANDS:
            on.check(name, args[1:])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A closed output pipe is handled here, because click would exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _pipe_broke()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands and their summaries, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes."""
        formatter.write_paragraph()
        formatter.write(f"Exit codes:\n{exitcodes.table()}\n")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(VERSION, "-V", "--version", message="hpctune %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Hyperparameter tuning on Slurm clusters, with Ray Tune's API.

    \b
    Start:    hpctune run CONFIG.py --cluster slurm -p gpu -t 2:00:00
    Look:     hpctune status
    Go on:    hpctune resume DIR
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> None:
    """The console script: run the command and exit with its code."""
    streams.open_missing()
    on.tell_other_version()
    if args is None and sys.argv[1:2] == ["resume"]:  # trials may run in this process, which did not load the script
        import_module("hpctune.usercode.main_module").offer()
    code = _guarded(list(sys.argv[1:] if args is None else args))
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _pipe_broke()
    sys.exit(code)


def _guarded(args: list[str]) -> int:
    """Run the command; every error becomes a message on stderr and an exit code."""
    try:
        result = cli.main(args, prog_name="hpctune", standalone_mode=False)
        return result if isinstance(result, int) else exitcodes.DONE
    except click.ClickException as error:
        return _complain(_words(error), error.exit_code, error)
    except TuneError as error:
        return _complain(str(error), error.exit_code, error)
    except (click.Abort, KeyboardInterrupt):
        return exitcodes.INTERRUPTED
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        return _complain(f"{named}{error.strerror or error}", exitcodes.FAILED, error)
    except Exception as error:
        hint = "This is a bug in hpctune. Please report it, with the traceback that HPCTUNE_DEBUG=1 prints."
        return _complain(f"{type(error).__name__}: {error}. {hint}", exitcodes.FAILED, error)


def _words(error: click.ClickException) -> str:
    """Click's message, and the command that shows the help."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or context is None:
        return message
    return f"{message.rstrip()}\nHelp: {context.command_path} --help"


def _complain(message: str, code: int, error: BaseException) -> int:
    if os.environ.get("HPCTUNE_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    click.echo(f"hpctune: error: {message}", err=True)
    return code


def _pipe_broke() -> int:
    """The reader has closed the pipe: exit without another error at interpreter exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exitcodes.BROKEN_PIPE


if __name__ == "__main__":
    main()
