"""The command lines that run there: in a login shell, with modules and set-up lines, every word quoted."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence

from hpctune.remote.address import RemoteCluster
from hpctune.ssh.any_shell import for_any_shell

NO_PYTHON = 91
"""Exit code: no interpreter that is new enough."""
NO_PROGRAM = 92
"""Exit code: the program that is brought along is not there."""
NO_ENVIRONMENT = 93
"""Exit code: nothing was installed there yet."""
NO_DIRECTORY = 94
"""Exit code: the directory cannot be made."""
NOT_SET_UP = 95
"""Exit code: a module or a set-up line failed."""
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))(?P<rest>(?:/.*)?)")
_OLDEST = (3, 11)


def directory_word(directory: str) -> str:
    """A directory there as a word of the shell: a variable at its beginning is meant, and ``~`` is the home."""
    if directory in ("~", ""):
        return '"$HOME"'
    if directory.startswith("~/"):
        return f'"$HOME"/{shlex.quote(directory[2:])}'
    found = _VARIABLE.fullmatch(directory)
    if found is None:
        return shlex.quote(directory)
    return f'"${{{found["braced"] or found["plain"]}:?}}"{shlex.quote(found["rest"]) if found["rest"] else ""}'


def in_login_shell(cluster: RemoteCluster, then: str) -> str:
    """``then``, in the cluster's directory, in a login shell with the cluster's modules and set-up lines.

    What the profile prints is dropped, and it cannot read what is meant for the command. The user's login shell
    only has to start sh.
    """
    place = directory_word(cluster.directory)
    loads = [f"module load {shlex.quote(name)}" for name in cluster.modules]
    ready = "".join(f" && {step}" for step in [*loads, *(f"eval {shlex.quote(line)}" for line in cluster.setup)])
    inside = (
        f"exec 2>&4 4>&- <&5 5<&-; cd; mkdir -p -m 700 {place} && cd {place} >/dev/null || exit {NO_DIRECTORY}; "
        f"{{ true{ready}; }} || exit {NOT_SET_UP}; unset HPCTUNE_ON; exec >&3 3>&-; {then}"
    )
    outside = f"exec 3>&1 4>&2 5<&0 >/dev/null 2>&1 </dev/null; exec bash -lc {shlex.quote(inside)}"
    return f"exec sh -c {for_any_shell(outside)}"


def interpreter(cluster: RemoteCluster) -> str:
    """Shell text that sets ``$p`` to the interpreter, or ends with NO_PYTHON."""
    if cluster.python:
        word = directory_word(cluster.python)
        return f'p={word}; command -v "$p" >/dev/null || exit {NO_PYTHON}; '
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    names = [own, *(n for n in ("python3", "python3.13", "python3.12", "python3.11") if n != own)]
    test = f"import sys; sys.exit(sys.version_info < {_OLDEST!r})"
    return (
        f'p=; for q in {" ".join(names)}; do if "$q" -c {shlex.quote(test)} 2>/dev/null; then p=$q; break; fi; done; '
        f'[ -n "$p" ] || exit {NO_PYTHON}; '
    )


def program(cluster: RemoteCluster, file: str, words: Sequence[str]) -> str:
    """Run a file of ours, which is below the cluster's directory, by the interpreter there."""
    run = f'[ -f {shlex.quote(file)} ] || exit {NO_PROGRAM}; exec "$p" {shlex.join([file, *words])}'
    return in_login_shell(cluster, interpreter(cluster) + run)


def store(cluster: RemoteCluster, file: str, length: int) -> str:
    """Store what comes on stdin as ``file``: whole (``length`` bytes), or not at all."""
    folder = file.rpartition("/")[0]
    text = (
        f't={shlex.quote(folder)}/.new.$$; mkdir -p {shlex.quote(folder)} && cat > "$t" && '
        f'[ "$(wc -c < "$t")" -eq {length} ] && mv "$t" {shlex.quote(file)} || {{ c=$?; rm -f "$t"; exit $c; }}'
    )
    return in_login_shell(cluster, text)


def hpctune(cluster: RemoteCluster, words: Sequence[str], variables: Mapping[str, str], *, terminal: bool) -> str:
    """The command line of hpctune there, by the environment that was used last.

    Without a terminal, nothing tells it that the connection is gone, so it ends with its stdin.
    """
    env = shlex.join([f"{name}={value}" for name, value in sorted(variables.items())])
    find = f"[ -s python ] || exit {NO_ENVIRONMENT}; p=$(cat python); "
    if cluster.python:
        find = interpreter(cluster)
    command = f'env {env} "$p" -m hpctune {shlex.join(words)}'
    if terminal:
        return in_login_shell(cluster, f"{find}exec {command}")
    watched = (
        f"exec 5<&0; {command} </dev/null 5<&- & c=$!; {{ cat <&5 >/dev/null; kill -HUP $c; }} >/dev/null 2>&1 & w=$!; "
        "wait $c; r=$?; kill $w 2>/dev/null; exit $r"
    )
    return in_login_shell(cluster, find + watched)
