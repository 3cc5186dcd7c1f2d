"""Containers that the workers of Slurm jobs run in: ``Apptainer``, ``Pyxis`` and ``Podman``, as exact command lines.

Each sees the directory of all experiments at the same path, and the variables of its job. What else it is to see is
named by ``binds``. A shell command as ``SlurmOptions(container="...")`` serves if these do not.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpctune.common.checks import check_flag
from hpctune.common.log import log
from hpctune.common.options import option_values
from hpctune.errors import UsageError
from hpctune.worker.container import PROGRAM_VARIABLE

_MUNGE = "/run/munge"
_SLURM_CONF = "/etc/slurm/slurm.conf"
_PASSED = ("SLURM_*", "HPCTUNE_*", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH")
_CLEANING = frozenset({"-e", "--cleanenv", "-c", "--contain", "-C", "--containall"})


@dataclass(frozen=True, kw_only=True)
class Container(ABC):
    """What all kinds have in common.

    - ``image``: a file, or a name that the program understands, such as ``docker://ubuntu``. A relative file is one of
      the current directory.
    - ``binds``: directories that are visible inside, each ``"/path"`` or ``"/path:/inside"`` or ``"/path:/inside:ro"``.
    - ``nv``: whether NVIDIA GPUs are visible inside.
    - ``bind_python``: whether this Python environment is visible inside and runs the worker. Else the image's
      ``python3``, which needs hpctune.
    - ``bind_slurm``: whether Slurm's configuration and munge's socket are visible inside, for trials that call Slurm's
      commands there.
    - ``options``: more options of the program, as words.

    Raises UsageError for impossible values.
    """

    image: str
    binds: Sequence[str] = ()
    nv: bool = False
    bind_python: bool = False
    bind_slurm: bool = False
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not isinstance(self.image, str) or not self.image.strip() or "\n" in self.image:
            raise UsageError(f"{kind}: image must be a file or a name, not {self.image!r}.")
        for name in ("nv", "bind_python", "bind_slurm"):
            check_flag(f"{kind}: {name}", getattr(self, name))
        for name in ("binds", "options"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(one, str) and one and "\n" not in one for one in value):
                raise UsageError(f"{kind}: {name} must be a list of texts, not {value!r}.")
            object.__setattr__(self, name, tuple(value))
        for bind in self.binds:
            if not bind.startswith("/") or "," in bind:
                raise UsageError(f"{kind}: a bind must be an absolute path without commas, not {bind!r}.")
        if self._is_file():
            object.__setattr__(self, "image", str(Path(self.image).expanduser().absolute()))

    def _is_file(self) -> bool:
        """Whether ``image`` is a file or a directory, and no name in a registry."""
        return "://" not in self.image and self.image.startswith(("/", "./", "../", "~"))

    def to_json(self) -> dict[str, Any]:
        """The values, as :func:`parse` reads them."""
        return {"kind": next(name for name, kind in KINDS.items() if kind is type(self)), **asdict(self)}

    def mounts(self, storage: Path) -> list[str]:
        """All binds as ``path:inside``, each once. ``storage``: the directory of all experiments."""
        found = [str(storage), *self.binds, *(_python() if self.bind_python else ())]
        if self.bind_slurm:
            found += [str(Path(os.environ.get("SLURM_CONF", _SLURM_CONF)).parent), _MUNGE]
        return list(dict.fromkeys(one if ":" in one else f"{one}:{one}" for one in found))

    @property
    def python(self) -> str | None:
        """The interpreter inside, as shell text."""
        return shlex.quote(sys.executable) if self.bind_python else "python3"

    @property
    def _program(self) -> str:
        """The program that enters the container; "" if that is srun."""
        return ""

    @abstractmethod
    def command(self, storage: Path, env: Mapping[str, str]) -> str | None:
        """The shell text before the worker's command; None if srun enters the container. ``env``: the user's."""

    def srun_flags(self, storage: Path) -> list[str]:
        """Options by which srun enters the container."""
        return []

    def check(self) -> None:
        """Raise UsageError if the image's file is missing. Warn if the program is missing on this node."""
        if self._is_file() and not Path(self.image).exists():
            raise UsageError(f"The container image {self.image} is not there. Name an existing file, or a URL.")
        if self._program and shutil.which(self._program) is None:
            log.warning(
                f"{self._program} is not installed on this node. If compute nodes have it by a module, name that: "
                f"SlurmOptions(modules=[...])."
            )


@dataclass(frozen=True, kw_only=True)
class Apptainer(Container):
    """Apptainer (or Singularity). ``rocm``: whether AMD GPUs are visible inside. ``program``: its name or path. See
    Container."""

    rocm: bool = False
    program: str = "apptainer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("Apptainer: rocm", self.rocm)
        for word in self.options:
            if word in _CLEANING:
                raise UsageError(
                    f"Apptainer: {word} hides the job's variables or the directories that the worker needs. Leave it "
                    "out; to hide the home directory: '--no-home'."
                )

    def _is_file(self) -> bool:
        return "://" not in self.image

    def command(self, storage: Path, env: Mapping[str, str]) -> str:
        """``apptainer exec``; it passes all variables on."""
        gpus = [*(["--nv"] if self.nv else []), *(["--rocm"] if self.rocm else [])]
        binds = [f"--bind={mount}" for mount in self.mounts(storage)]
        return shlex.join([self.program, "exec", *gpus, *binds, *self.options, self.image])

    @property
    def _program(self) -> str:
        return self.program


@dataclass(frozen=True, kw_only=True)
class Pyxis(Container):
    """Enroot, by srun's options of the plugin Pyxis. GPUs are visible without ``nv``. ``name``: keep the container
    under this name on each node. See Container."""

    name: str | None = None

    def _is_file(self) -> bool:
        return super()._is_file() or self.image.endswith(".sqsh")

    def command(self, storage: Path, env: Mapping[str, str]) -> None:
        """Nothing: srun enters the container."""
        return

    def srun_flags(self, storage: Path) -> list[str]:
        """``--container-...``; Pyxis passes all variables on."""
        named = [] if self.name is None else [f"--container-name={self.name}"]
        mounts = f"--container-mounts={','.join(self.mounts(storage))}"
        return [f"--container-image={self.image}", mounts, *named, *self.options]


@dataclass(frozen=True, kw_only=True)
class Podman(Container):
    """Podman without root. See Container."""

    @property
    def _program(self) -> str:
        return "podman"

    def _is_file(self) -> bool:
        return False

    def command(self, storage: Path, env: Mapping[str, str]) -> str:
        """``podman run``, as the same user, in the namespaces of the node, with the job's variables."""
        flags = ["--rm", "--network=host", "--ipc=host", "--pid=host", "--security-opt=label=disable"]
        flags += ["--userns=keep-id"] if os.geteuid() else []  # Podman refuses it to root
        flags += ["--device=nvidia.com/gpu=all"] if self.nv else []
        flags += [f"--env={name}" for name in (*_PASSED, *env)]
        flags += [f"--volume={mount}" for mount in self.mounts(storage)]
        # The worker ends if podman is killed: the container is no child of it (worker/container.py).
        program = ["sh", "-c", f'{PROGRAM_VARIABLE}=$$ exec podman run "$@"', "podman"]
        return shlex.join([*program, *flags, *self.options, self.image])


Enroot = Pyxis
KINDS: dict[str, type[Container]] = {"apptainer": Apptainer, "enroot": Pyxis, "podman": Podman, "pyxis": Pyxis}


def parse(given: object) -> str | Container | None:
    """The value of ``SlurmOptions(container=)``: a shell command, a Container, or a mapping with ``kind`` and the
    container's fields, as in a configuration file. Raises UsageError."""
    if given is None or isinstance(given, Container):
        return given
    if isinstance(given, str) and "\n" not in given:
        return given
    if not isinstance(given, Mapping):
        raise UsageError(
            f"container must be a shell command, or Apptainer(...), Pyxis(...), Podman(...), not {given!r}."
        )
    kind = given.get("kind")
    if kind not in KINDS:
        raise UsageError(f"container: kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    given = {name: value for name, value in given.items() if name != "kind"}
    values = option_values(KINDS[kind], given, f"container: {kind}")
    if "image" not in values:
        raise UsageError(f"container: {kind} needs an image.")
    return KINDS[kind](**values)


def _python() -> list[str]:
    """The directories that this Python environment needs: its own, the interpreter's, and that of hpctune."""
    import hpctune

    needed = [sys.prefix, sys.base_prefix, str(Path(hpctune.__file__).resolve().parents[1])]
    outer: list[str] = []
    for path in dict.fromkeys(needed):
        if path not in ("/", "/usr") and not any(Path(path).is_relative_to(other) for other in outer):
            outer.append(path)
    return outer
