"""``hpctune completion``: the script that lets a shell complete commands, experiments, trials, metrics, partitions."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from hpctune.cli.main import COMPLETING
from hpctune.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/hpctune",
    "zsh": "~/.zfunc/_hpctune",
    "fish": "~/.config/fish/completions/hpctune.fish",
}
_QUOTED = ("COMPREPLY+=($value)", 'printf -v value %q "$value"; COMPREPLY+=("$value")')
"""For bash: what is offered is put into the line as it is, so a blank in a name has to be quoted before."""
_THEN = {
    "bash": "New shells complete hpctune, if bash-completion is installed. This shell: source {file}",
    "zsh": "Add to ~/.zshrc, if it is not there: fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit",
    "fish": "New shells complete hpctune.",
}


@click.command(
    "completion",
    epilog="Example: hpctune completion bash --install",
    help="Print what makes a shell complete hpctune's commands and options, and then experiments, trials, metrics and "
    "Slurm's partitions. Default: the shell in $SHELL. With --install it is written to the user's directory of "
    "completions.",
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Write it to the place where the shell looks.")
@click.pass_context
def command(ctx: click.Context, shell: str | None, install: bool) -> None:
    """The command."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError(f"Which shell? For example: hpctune completion bash. There are: {', '.join(SHELLS)}.")
    kind = get_completion_class(name)
    assert kind is not None
    text = kind(ctx.find_root().command, {}, "hpctune", COMPLETING).source().rstrip() + "\n"
    text = text.replace(*_QUOTED)
    if not install:
        click.echo(text, nl=False)
        return
    file = Path(_PLACES[name]).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    click.echo(f"Wrote {file}. {_THEN[name].format(file=file)}")
