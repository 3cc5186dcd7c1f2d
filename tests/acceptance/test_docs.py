"""The README and the pages of docs/ execute: every block of code, in order, in a sandbox; links and tables hold.

What the word after a fence means:

- ``python``: runs; blocks that follow each other without a ``bash`` block between them are one script.
- ``bash``: runs, with ``hpctune`` on PATH and no Slurm; each block is a shell of its own, the files stay.
- ``... slurm``: the same, with a private Slurm cluster.
- ``... file=NAME``: is written to NAME, and a later block of the page must name it.
- ``text``, ``diff``: output and comparisons; not code.

docs/cli.md has a test of its own, test_cli_docs.py; what installs things is tested by test_quickstart.py.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from hpctune.cluster.containers import Container
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.model.trial import Phase
from hpctune.storage import layout

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_THE_PROJECT = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
"""Their commands are tested by test_project_files.py."""
TESTED_ELSEWHERE = {"docs/cli.md"}
INSTALLS = {"./scripts/quickstart.sh", "./scripts/test.sh", "python -m pip install -e ."}
"""Commands that need a network and minutes: a block of nothing else is left to test_quickstart.py."""
BLOCK_S = 600
"""The longest time of a block in seconds, on a machine that does something else as well."""
_SLURM_IS_MISSING = 3
_SLURM = re.compile(r"^(sbatch|srun|salloc|squeue|scancel|scontrol|sinfo|sacct\w*|sprio|sshare|sdiag|sstat)$")
_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_INFO = re.compile(r"(text|diff|(python|bash)( slurm)?|\w+ file=[\w.-]+)")


@dataclass(frozen=True)
class Block:
    info: str
    text: str
    line: int

    @property
    def language(self) -> str:
        return self.info.split()[0]

    @property
    def slurm(self) -> bool:
        return self.info.endswith(" slurm")

    @property
    def file(self) -> str | None:
        return self.info.partition(" file=")[2] or None

    @property
    def runs(self) -> bool:
        return self.language in ("python", "bash") and self.file is None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in _FENCE.finditer(text)]


# -- the blocks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def path_without_slurm() -> Iterator[str]:
    """A PATH with everything on it but Slurm, so that this machine's own cluster is left alone."""
    with tempfile.TemporaryDirectory(prefix="hpctune-bin-") as folder:
        for directory in reversed(os.environ["PATH"].split(os.pathsep)):
            for program in Path(directory).glob("*") if Path(directory).is_dir() else ():
                link = Path(folder, program.name)
                link.unlink(missing_ok=True)
                if not _SLURM.match(program.name):
                    link.symlink_to(program)
        yield f"{Path(sys.executable).parent}{os.pathsep}{folder}"


@pytest.fixture(scope="session")
def slurm_conf() -> Iterator[str]:
    """The configuration of a private cluster of two nodes."""
    directory = tempfile.mkdtemp(prefix="hpctune-docs-")
    Path(directory).chmod(0o755)
    try:
        done = _slurm_cluster("up", "--dir", directory, "--owner-pid", str(os.getpid()), "--nodes", "2")
        if done.returncode == _SLURM_IS_MISSING and os.environ.get("CI") != "true":
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        yield done.stdout.strip().removeprefix("export SLURM_CONF=")
    finally:
        _slurm_cluster("down", "--dir", directory)


def _slurm_cluster(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "slurm-cluster"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """What a reader has: a home, and the checkout's configs and scripts in the current directory."""
    (tmp_path / "home").mkdir()
    work = tmp_path / "work"
    work.mkdir()
    for name in ("configs", "scripts"):
        (work / name).symlink_to(ROOT / name)
    return work


def _environment(sandbox: Path, path: str, conf: str | None) -> dict[str, str]:
    foreign = ("SLURM", "SBATCH_", "TUNE_", "HPCTUNE_", "RAY_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    env |= {"HOME": str(sandbox.parent / "home"), "PATH": path}
    if conf is not None:
        env["SLURM_CONF"] = conf
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return env


def _steps(blocks: list[Block]) -> Iterator[tuple[Block, str]]:
    """What is to be done, in order; neighbouring python blocks joined, each at its line of the page."""
    script, first = "", None
    for block in blocks:
        joins = block.runs and block.language == "python"
        goes_on = first is None or not block.runs or (joins and block.slurm is first.slurm)
        if first is not None and not goes_on:
            yield first, script
            script, first = "", None
        if joins:
            first = first or block
            script += "\n" * (block.line - 1 - script.count("\n")) + block.text
        elif block.runs or block.file is not None:
            yield block, block.text
    if first is not None:
        yield first, script


def _installs(text: str) -> bool:
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return all(line in INSTALLS for line in lines if line)


LONG = {
    f"docs/how-to/{name}.md"
    for name in (
        *("admins", "batch-scripts", "checkpoints-and-resume", "command-trainables", "cost", "export", "frameworks"),
        *(
            "keras-tuner",
            "optuna",
            "pictures",
            "population-based-training",
            "resources-and-gpus",
            "schedulers",
            "scikit-learn",
        ),
        *("seml", "trackers", "wandb-sweeps"),
    )
}
"""Pages that take longest: their blocks run every night."""
NEEDS = {"docs/how-to/keras-tuner.md": ("keras_tuner", "torch")}
"""Packages of pages that scripts/integrations.sh runs in an environment of their own."""


def _marks(page: Path) -> list[pytest.MarkDecorator]:
    slurm = [pytest.mark.slurm] if any(block.slurm for block in blocks_of(page)) else []
    missing = [name for name in NEEDS.get(name_of(page), ()) if find_spec(name) is None]
    needs = [pytest.mark.skip(reason=f"{', '.join(missing)} is not installed")] if missing else []
    return slurm + needs + ([pytest.mark.nightly] if name_of(page) in LONG else [])


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=_marks(page))
        for page in PAGES
        if name_of(page) not in TESTED_ELSEWHERE and any(b.runs for b in blocks_of(page))
    ],
)
def test_blocks_run(page: Path, sandbox: Path, path_without_slurm: str, request: pytest.FixtureRequest) -> None:
    for number, (block, text) in enumerate(_steps(blocks_of(page))):
        if block.file is not None:
            (sandbox / block.file).write_text(text)
            continue
        if _installs(text):
            continue
        conf = request.getfixturevalue("slurm_conf") if block.slurm else None
        command = ["bash", "-euo", "pipefail", "-c", text]
        if block.language == "python":
            script = sandbox / f"{page.stem}_{number}.py"
            script.write_text(text)
            command = [sys.executable, script.name]
        done = subprocess.run(
            command,
            cwd=sandbox,
            env=_environment(sandbox, path_without_slurm, conf),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_S,
            check=False,
        )
        where = f"{name_of(page)}, line {block.line}"
        assert done.returncode == 0, f"{where}:\n{block.text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    assert len(re.findall(r"^\s*(```|~~~)", text, re.MULTILINE)) == 2 * len(blocks_of(page)), "a fence that is not seen"
    if name_of(page) in TESTED_ELSEWHERE:
        return
    blocks = blocks_of(page)
    for block in blocks:
        assert _INFO.fullmatch(block.info), f"{name_of(page)}, line {block.line}: ```{block.info}"
        if block.file is not None:
            later = "".join(b.text for b in blocks if b.line > block.line and b.runs)
            assert block.file in later, f"{block.file} is written and never used"


# -- links and words --------------------------------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their text."""
    prose = _FENCE.sub("", page.read_text())
    heads = re.findall(r"^#+ +(.*?)\s*$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *OF_THE_PROJECT], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        if anchor:
            assert anchor in _anchors(target), f"{name_of(page)} links to {link}"


@pytest.mark.parametrize("page", [*PAGES, *OF_THE_PROJECT], ids=name_of)
def test_pages_speak_of_no_particular_machine(page: Path) -> None:
    text = page.read_text()
    told = [str(place) for place in (ROOT, Path.home(), Path(sys.prefix), "/tmp/pytest") if str(place) in text]
    assert told == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    linked = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", index)}
    missing = [name_of(p) for p in PAGES[1:] if p.name != "index.md" and p not in linked]
    assert not missing


def test_every_option_is_documented() -> None:
    text = (ROOT / "docs" / "how-to" / "slurm-options.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    assert documented == {f.name for kind in (SlurmOptions, LocalOptions, Container) for f in fields(kind)}


def test_every_file_is_documented() -> None:
    text = (ROOT / "docs" / "disk-layout.md").read_text()
    missing = [name for name in re.findall(r"``([^`]+)``", layout.__doc__ or "") if f"`{name}`" not in text]
    assert not missing


def test_messages_are_quoted_as_they_are() -> None:
    """The troubleshooting page has the program's own messages; ``...``, ``'x'``, ``N`` and numbers stand for more."""
    source = "\n".join(path.read_text() for path in sorted((ROOT / "hpctune").rglob("*.py")))
    source = re.sub(r'"\s*\n\s*(\+ )?f?"', "", source)
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in re.split(r"\.\.\.|'\w+'|\bN\b|\b\d+\b|OUT_OF_MEMORY|FAILED", message):
            assert part.strip(" ()") in source, f"{part!r} of {message!r} is not in the program"


def test_every_word_is_defined() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text()
    words = (
        "experiment trial attempt run run-key job worker driver result checkpoint event journal decision action phase "
        "lease milestone"
    )
    defined = {word.lower().replace(" ", "-") for word in re.findall(r"^\*\*([\w ]+)\*\*", text, re.MULTILINE)}
    assert set(words.split()) <= defined
    assert all(f"`{phase.value}`" in text for phase in Phase)


def test_the_readme_runs_a_script_with_ray_s_import() -> None:
    (script,) = (b for b in blocks_of(ROOT / "README.md") if b.file == "ray_search.py")
    assert script.text.startswith("from ray import tune\n")
    assert "hpctune" not in script.text


REFERENCE = sorted((ROOT / "docs" / "python").glob("*.md"))
PUBLIC = ("hpctune", "hpctune.search", "hpctune.schedulers", "hpctune.stopper", "hpctune.logger", "hpctune.errors")
NO_ENTRY = {
    "hpctune.__version__", "hpctune.SyncConfig", "hpctune.register_env", "hpctune.schedulers.as_scheduler",
    "hpctune.search.as_search_algorithm", "hpctune.search.SearcherPolicy", "hpctune.stopper.reached",
    "hpctune.stopper.split_stop", "hpctune.stopper.Criteria", "hpctune.logger.DEFAULT_LOGGERS",
    "hpctune.logger.pretty_print",
}  # fmt: skip
"""Public for Ray Tune's sake or for hpctune's own parts, and nothing that a reader would look for."""


def entries() -> dict[str, object]:
    """What the reference has an entry for, by name."""
    names = [name for page in REFERENCE for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    assert len(names) == len(set(names)), "an entry stands twice"
    return {name: getattr(import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names}


def test_the_reference_has_an_entry_for_everything_public() -> None:
    """Entries are made from docstrings when the site is built; see mkdocs.yml."""
    there, missing = list(entries().values()), []
    for module in map(import_module, PUBLIC):
        own = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            told = f"{module.__name__}.{name}" in NO_ENTRY or any(value is thing for thing in there)
            if not told and callable(value):
                missing.append(f"{module.__name__}.{name}")
    assert missing == []


def test_every_entry_of_the_reference_says_something() -> None:
    assert len(entries()) > 100
    assert [name for name, thing in entries().items() if not inspect.getdoc(thing)] == []
