"""``hpctune init``: write a config file, by five questions or by options."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli.parameters import read_pairs
from hpctune.cli.searchoptions import metric_of, mode_options
from hpctune.common.text import quoted
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.interop import declared
from hpctune.space import text as space_text

SCHEMA = "hpctune.schema.json"


@click.command(
    "init",
    epilog="Example: hpctune init --program 'python train.py' --param lr=log:1e-4..1e-1 --metric val_acc --max -p gpu",
    help="Write FILE, a search over a program: asks what is not given as an option (the program, its parameters, the "
    "metric, the number of trials, and where they run). Without a terminal nothing is asked.",
)
@click.argument("file", metavar="[FILE]", default="search.yaml")
@click.option("--program", metavar="COMMAND", help="The program, such as 'python train.py'.")
@click.option("--param", "params", multiple=True, metavar="NAME=DOMAIN", help="A parameter; repeatable.")
@click.option("--metric", metavar="NAME", help="The metric in the program's output.")
@mode_options
@click.option("--num-samples", type=click.IntRange(min=-1), metavar="N", help="How many trials.")
@click.option("-p", "--partition", metavar="NAME", help="The partition of Slurm; local: this machine.")
@click.option("-t", "--time", metavar="TIME", help="Time limit of a trial: 2h30m, D-HH:MM:SS.")
@click.option("--gpus", type=click.IntRange(min=0), metavar="N", help="GPUs of a trial.")
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="CPUs of a trial.")
@click.option("--schema", is_flag=True, help=f"Only write the JSON schema of such files, {SCHEMA}, for editors.")
def command(file: str, params: tuple[str, ...], schema: bool, **given: Any) -> None:
    """The command."""
    path = Path(file).expanduser()
    if schema:
        Path(SCHEMA).write_text(json.dumps(declared.schema(), indent=2) + "\n")
        click.echo(f"Wrote {SCHEMA}. In the first line of a file: # yaml-language-server: $schema={SCHEMA}")
        return
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"{path}: init writes YAML. Choose a name that ends in .yaml.")
    if path.exists():
        raise UsageError(f"{path} exists already. Choose another name, or remove it.")
    answers = _ask(given, params, sys.stdin.isatty())
    text = _yaml(answers)
    path.write_text(text)
    declared.search_of(declared.read(path), path)
    click.echo(
        f"Wrote {path}:\n\n{text}\nLook:  hpctune run {quoted(path)} --dry-run\nStart: hpctune run {quoted(path)}"
    )


def _ask(given: Mapping[str, Any], params: Sequence[str], interactive: bool) -> dict[str, Any]:
    """The content of the file. Asks for what is not given."""
    program, metric, mode = given["program"], given["metric"], given["mode"]
    if interactive:
        program = program or click.prompt("1. The program to tune, as you start it", default="python train.py")
        params = params or _prompt_parameters()
        metric = metric or click.prompt("3. The metric that it prints (empty: none)", default="", show_default=False)
        if metric and mode is None:
            mode = "max" if click.confirm("   Is a greater value better?", default=False) else "min"
        samples = given["num_samples"] or click.prompt("4. How many trials", default=20, type=int)
    else:
        samples = given["num_samples"]
        if not program:
            raise UsageError("There is no terminal to ask on, so say it: hpctune init --program 'python train.py'")
    data: dict[str, Any] = {"command": program, "parameters": _checked(params)}
    if metric:
        name, pattern = metric_of(metric)
        data |= {"metric": name, "mode": mode or "min"} | ({"parse": pattern} if pattern else {})
    if samples:
        data["num_samples"] = samples
    resources = {name: given[f"{name}s"] for name in ("cpu", "gpu") if given[f"{name}s"]}
    if resources:
        data["resources"] = resources
    return data | _where(given, interactive)


def _prompt_parameters() -> list[str]:
    click.echo("2. Its parameters, one a line, such as lr=log:1e-4..1e-1 or width=16,32; an empty line ends.")
    click.echo(f"   Domains: {space_text.HELP}")
    words = []
    while word := click.prompt("  ", default="", show_default=False, prompt_suffix=" ").strip():
        try:
            _checked([word])
        except (UsageError, SearchSpaceError) as error:
            click.echo(f"   {error}")
            continue
        words.append(word)
    return words


def _checked(params: Sequence[str]) -> dict[str, str]:
    pairs = read_pairs(params)
    for text in pairs.values():
        space_text.domain(text)
    return pairs


def _where(given: Mapping[str, Any], interactive: bool) -> dict[str, Any]:
    """Where trials run: a partition of the site, or this machine."""
    partition, limit = given["partition"], given["time"]
    partitions = _partitions() if interactive and partition is None else []
    if partitions:
        click.echo("5. Where trials run. Partitions of this site:")
        for name, longest, nodes, default in partitions:
            click.echo(f"     {name:<16} longest job {longest}, {nodes} nodes{' (default)' if default else ''}")
        usual = next((p[0] for p in partitions if p[3]), partitions[0][0])
        partition = click.prompt("   Partition (local: this machine)", default=usual)
    if partition in (None, "local"):
        return {"cluster": "local"} if partition else {}
    if interactive and limit is None:
        limit = click.prompt("   Time limit of a trial", default="1h")
    return {"cluster": "slurm", "slurm": {"partition": partition} | ({"time": limit} if limit else {})}


def _partitions() -> list[tuple[str, str, int, bool]]:
    """Name, longest time, nodes, and whether it is the default, of each partition; empty without Slurm."""
    from hpctune.cluster.slurm.call_budget import CallBudget
    from hpctune.cluster.slurm.commands import SlurmCommands
    from hpctune.site.doctor import ANSWER_S, CALLS_PER_MINUTE
    from hpctune.site.slurm.facts import Asker, parse_partitions

    commands = SlurmCommands(CallBudget(CALLS_PER_MINUTE, time.monotonic), ANSWER_S)
    answer = Asker(commands).ask("scontrol", "--oneliner", "show", "partition")
    return [(p.name, p.limit, p.nodes, p.default) for p in parse_partitions(answer.out)]


def _yaml(data: Mapping[str, Any]) -> str:
    """The file's text."""
    import yaml

    lines = ["# A search of hpctune. Keys and domains: docs/how-to/config-files.md"]
    for key, value in data.items():
        shown = {name: _constant(text) for name, text in value.items()} if key == "parameters" else value
        lines.append(yaml.safe_dump({key: shown}, sort_keys=False, width=1000, allow_unicode=True).rstrip())
    return "\n".join(lines) + "\n"


def _constant(text: str) -> Any:
    """A parameter as YAML has it: a list of choices, a number, or a range or a function as text."""
    if ".." in text or text.startswith(("normal:", "text:")) or space_text.is_call(text):
        return text
    domain = space_text.domain(text)
    return list(domain.categories) if hasattr(domain, "categories") else domain
