"""Loading a config file: it runs like a script, and each error in it is reported in a few lines."""

from __future__ import annotations

import linecache
import site
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, ModuleType

from hpctune.errors import ConfigFileError, TuneError
from hpctune.usercode.main_module import begin_main

MAX_FRAMES = 5


def compiled(path: Path) -> CodeType:
    """The file's code, not yet executed. Raises ConfigFileError if the file cannot be read or parsed."""
    source = _read(path)
    try:
        return compile(source, str(path.absolute()), "exec", dont_inherit=True)
    except SyntaxError as error:
        if error.lineno is None:
            raise ConfigFileError(f"{path} is not Python text: {error.msg}.") from error
        raise ConfigFileError(syntax_words(error)) from error
    except ValueError as error:  # null bytes, before Python 3.11.4
        raise ConfigFileError(f"{path} is not Python text: {error}.") from error


def load(path: Path, code: CodeType, arguments: Sequence[str], *, full_traceback: bool = False) -> ModuleType:
    """Run the file's code as ``__main__``, once, with ``arguments`` as its command line; returns it as a module.

    Functions and classes of ``__main__`` are sent to the jobs by value, so the file need not be importable there. Its
    directory is added to ``sys.path``. Raises ConfigFileError for errors in the file; TuneError and SystemExit of the
    file pass through unchanged.
    """
    path = path.absolute()
    module = begin_main(str(path), arguments)
    execute(path, lambda: exec(code, module.__dict__), full_traceback=full_traceback)
    return module


def execute(path: Path, action: Callable[[], object], *, full_traceback: bool) -> None:
    """Call ``action``, which runs code of the file at ``path``. Raises ConfigFileError, in a few lines, for errors of
    that code. TuneError, SystemExit, KeyboardInterrupt, and errors without a frame of that code, pass unchanged."""
    try:
        action()
    except (TuneError, SystemExit, KeyboardInterrupt):
        raise
    except SyntaxError as error:  # in a module that the file imports
        raise ConfigFileError(syntax_words(error)) from error
    except BaseException as error:
        if full_traceback:
            ours = error.__traceback__  # the frame of this function
            traceback.print_exception(error.with_traceback(ours.tb_next if ours is not None else None))
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _users_own(f.filename)]
        if not frames:
            raise
        raise ConfigFileError(failure_words(path, error, frames, full_traceback)) from error


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ConfigFileError(f"{path} is a directory. Name a Python file in it.{_nearby(path)}")
    if not path.exists():
        raise ConfigFileError(f"There is no file {path}.{_nearby(path.parent)}")
    if path.suffix != ".py":
        raise ConfigFileError(
            f"{path} is not a Python file (its name does not end in .py). A config file is Python that defines "
            f"'tuner' or 'experiment'."
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigFileError(f"Cannot read {path}: {error.strerror or error}.") from error


def _nearby(directory: Path) -> str:
    try:
        names = sorted(p.name for p in directory.glob("*.py"))
    except OSError:
        return ""
    if not names:
        return ""
    where = "Here is" if str(directory) == "." else f"{directory} has"
    return f" {where} {', '.join(names[:6])}{', ...' if names[6:] else '.'}"


def syntax_words(error: SyntaxError) -> str:
    """File, line number, the line itself, and a caret below the error."""
    words = f"{error.filename}, line {error.lineno}: {error.msg}"
    line = (error.text or linecache.getline(error.filename or "", error.lineno or 0)).rstrip("\n")
    if not line.strip():
        return words
    indent = len(line) - len(line.lstrip())
    column = max((error.offset or 1) - 1 - indent, 0)
    wide = 1
    if error.end_lineno == error.lineno and error.end_offset and error.offset:
        wide = max(min(error.end_offset, len(line) + 1) - error.offset, 1)
    pad = "".join("\t" if c == "\t" else " " for c in line.lstrip()[:column])
    return f"{words}\n    {line.strip()}\n    {pad}{'^' * wide}"


def failure_words(path: Path, error: BaseException, frames: Sequence[traceback.FrameSummary], full_shown: bool) -> str:
    """The exception and the user's own frames, the innermost last."""
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    lines = [f"{path} failed: {what}"]
    for frame in frames[-MAX_FRAMES:]:
        lines.append(f"  {frame.filename}, line {frame.lineno}, in {frame.name}")
        if frame.line:
            lines.append(f"    {frame.line}")
    if not full_shown:
        lines.append("For the full traceback add: -v 3")
    return "\n".join(lines)


def _users_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    paths = sysconfig.get_paths()
    foreign = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    foreign.append(str(Path(__file__).parents[1]))
    return not any(path.is_relative_to(Path(f).resolve()) for f in foreign)


def defined_names(module: ModuleType) -> list[str]:
    """The public top-level names that the file itself defines, without modules."""
    return [n for n, v in vars(module).items() if not n.startswith("_") and not isinstance(v, ModuleType)]
