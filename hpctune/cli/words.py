"""The words of a command line as they were typed: which belong to an option, and which are arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Part:
    """Words that belong together. ``option``: the parameter's name; None: an argument, or what follows ``--``."""

    option: str | None
    words: tuple[str, ...]

    @property
    def value(self) -> str | None:
        """The option's value as it was typed; None if it has none."""
        if self.option is None:
            return None
        flag, sign, value = self.words[0].partition("=")
        if sign and flag.startswith("--"):
            return value
        if len(self.words) > 1:
            return self.words[1]
        return self.words[0][2:] or None if not flag.startswith("--") else None


def parts(command: click.Command, words: Sequence[str]) -> Iterator[Part]:
    """Split the words after the command's name, as click does."""
    options = {flag: p for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            yield Part(None, (word, *left))
            return
        option = options.get(word.partition("=")[0] if word.startswith("--") else word[:2])
        if not word.startswith("-") or word == "-" or option is None:
            yield Part(None, (word,))
            continue
        attached = "=" in word if word.startswith("--") else len(word) > 2
        optional = isinstance(option.flag_value, str) and not option.is_flag
        takes = not option.is_flag and not attached and bool(left) and not (optional and left[0].startswith("-"))
        yield Part(option.name, (word, left.pop(0)) if takes else (word,))


def without(command: click.Command, words: Sequence[str], names: Collection[str]) -> list[str]:
    """The words without those of the options ``names``."""
    return [word for part in parts(command, words) if part.option not in names for word in part.words]


def with_values(command: click.Command, words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words with other values of the options in ``values``."""
    made: list[str] = []
    for part in parts(command, words):
        if part.option is not None and part.option in values:
            flag = part.words[0].partition("=")[0] if part.words[0].startswith("--") else part.words[0][:2]
            made += [flag, values[part.option]]
        else:
            made += part.words
    return made
