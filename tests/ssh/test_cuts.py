"""Connections that are cut at any byte: a search is started once, ends once, and its files arrive whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.ssh_lab import NAME, Laptop, Proxy, Sshd

from .test_login import RUN, experiments, write

CUT = (1, 3)
"""How a command ends whose connection could not be made, or was lost."""


def insist(laptop: Laptop, proxy: Proxy, *words: str, tries: int = 40) -> None:
    """Give the same command until it has done its work. The last tries have an undisturbed connection."""
    between = proxy.between
    for number in range(tries):
        proxy.between = between if number < tries - 2 else None
        said = laptop.call(*words)
        if said.code == 0:
            break
        assert said.code in CUT, said
        assert re.search(r"was lost|cannot be reached|Connecting again", said.err), said
    else:
        raise AssertionError(f"{words} did not succeed: {said}")
    proxy.between = between


def one_search(laptop: Laptop, sshd: Sshd, proxy: Proxy, seed: int, name: str) -> None:
    """A whole session with a bad connection."""
    proxy.random.seed(seed)
    proxy.between = (3000, 90_000)
    root = laptop.work / "project"
    root.mkdir(exist_ok=True)
    write(root, pause=0.2)
    (root / f"data-{name}.bin").write_bytes(proxy.random.randbytes(20_000))
    before = experiments(sshd)
    insist(laptop, proxy, *RUN, "--name", name, "--yes", "--code", f"project/data-{name}.bin")
    assert experiments(sshd) == sorted([*before, name])
    assert not list(sshd.home.glob("hpctune/files/.*")), "no part of a file"
    assert not list(sshd.home.glob("hpctune/code/.*")), "no part of a tree"
    (sent,) = sshd.home.glob(f"hpctune/code/*/data-{name}.bin")
    assert sent.read_bytes() == (root / f"data-{name}.bin").read_bytes()
    insist(laptop, proxy, "fetch", name, "--on", NAME, "--checkpoints", "all")
    here, there = laptop.home / "hpctune_results" / name, sshd.home / "hpctune_results" / name
    for path in here.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (there / path.relative_to(here)).read_bytes(), path
    assert len(list(here.glob("*/checkpoint_*/state"))) == 9
    assert not list(here.rglob("*.part"))


def launches(sshd: Sshd) -> list[Path]:
    return list(sshd.home.glob("hpctune/tasks/run-*/*"))


def test_a_few_cuts(laptop: Laptop, sshd: Sshd, proxy: Proxy) -> None:
    one_search(laptop, sshd, proxy, 1, "first")
    assert proxy.cuts > 1
    assert len(launches(sshd)) == 1


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_cuts(laptop: Laptop, sshd: Sshd, proxy: Proxy, seed: int) -> None:
    number = 0
    while proxy.cuts < 70:
        number += 1
        one_search(laptop, sshd, proxy, 1000 * seed + number, f"search-{number}")
        assert len(launches(sshd)) == number, "each search was started once"
