"""Job arrays: requests that are submitted together and ask for the same go out in one sbatch.

All elements of an array have the same comment, ``hpctune-array:EXPERIMENT:KEY``. The array's script lists which trial
each element runs. Its name is ``jobs/array-KEY.sh`` until the job's id is known, then ``jobs/ID_submission.sh``. So an
array is found by its comment even if the answer to its submission was lost, and its elements by the list.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpctune.errors import ClusterUnavailableError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest

PREFIX = "hpctune-array"
LARGEST = 1000
"""Elements of one array at most; sites seldom allow more (MaxArraySize)."""
DOUBT_S = 600.0
"""Seconds that a script without a job is kept, because its submission may still be under way."""
VISIBLE_WITHIN_S = 120.0
"""Seconds within which a list that another node wrote must be visible here."""
_LIST = "# The trials of array "
SCRIPT = "_submission.sh"


@dataclass(frozen=True, slots=True)
class ArrayTag:
    """The comment of all elements of an array."""

    experiment_id: str
    key: str

    def __str__(self) -> str:
        return f"{PREFIX}:{self.experiment_id}:{self.key}"

    @classmethod
    def parse(cls, text: str) -> ArrayTag | None:
        """The tag in ``text``; None if ``text`` is not such a tag."""
        parts = text.strip().split(":")
        return cls(*parts[1:]) if len(parts) == 3 and parts[0] == PREFIX and parts[2].isalnum() else None


def groups(requests: Sequence[JobRequest]) -> list[list[int]]:
    """The positions of ``requests`` in groups that ask for the same. Heterogeneous jobs cannot be in an array."""
    alike: dict[object, list[int]] = {}
    for position, request in enumerate(requests):
        alone = position if len({repr(bundle) for bundle in request.resources.bundles}) > 1 else None
        asked = (repr(request.resources), request.avoid, request.minutes, alone)
        alike.setdefault(asked, []).append(position)
    return list(alike.values())


def new_key() -> str:
    """A name for a new array."""
    return uuid.uuid4().hex[:12]


def list_line(key: str, requests: Sequence[JobRequest]) -> str:
    """The line of the script that lists which trial each element runs."""
    return f"{_LIST}{key}: {' '.join(str(request.tag) for request in requests)}"


def tags_in(script: str, key: str) -> tuple[Tag | None, ...]:
    """The tags by element in the script of array ``key``; none if the script is another array's.

    Only the first such line counts.
    """
    lines = (line for line in script.splitlines() if line.startswith(_LIST))
    found, _, words = next(lines, _LIST).removeprefix(_LIST).partition(":")
    return tuple(Tag.parse(word) for word in words.split()) if found == key else ()


def script_path(folder: Path, job_id: str) -> Path:
    """The path of a job's script (named as submitit does). The elements of an array share one."""
    return folder / f"{base_id(job_id)}{SCRIPT}"


def draft_path(folder: Path, key: str) -> Path:
    """The path of an array's script before its job's id is known."""
    return folder / f"array-{key}.sh"


def base_id(job_id: str) -> str:
    """The id of the array if ``job_id`` is an element's (``12_3``), else ``job_id``."""
    return job_id.partition("_")[0]


class ArrayLists:
    """Tells which trial each element of an experiment's arrays runs, from the scripts in ``folder``."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder, self._now = folder, now
        self._tags: dict[str, tuple[Tag | None, ...]] = {}
        """The tags that were read, by key."""
        self._shown: dict[str, dict[str, bool]] = {}
        """The cluster's last answer, by key: whether each element (by job id) is over."""
        self._noting: dict[str, dict[str, bool]] = {}
        self._absent: dict[str, float] = {}
        """Since when a script that live elements need is missing, by key."""
        self._drafts: dict[str, float] | None = None
        """When scripts without a job were found, by key. None: the folder was not read yet."""
        self._settled: set[str] = set()

    def look(self) -> None:
        """Begin to read a new answer of the cluster."""
        self._noting = {}

    def element(self, key: str, job_id: str, over: bool) -> Tag | None:
        """The tag of an element that the cluster shows. None: the element is not needed any more.

        Raises ClusterUnavailableError if the script of a live element is missing but may become visible here soon.
        """
        first = key not in self._noting
        self._noting.setdefault(key, {})[job_id] = over
        if first and key not in self._tags:
            self._read(key, job_id)
        tags = self._tags.get(key)
        if tags is not None:
            index = job_id.partition("_")[2]
            return tags[int(index)] if index.isdigit() and int(index) < len(tags) else None
        if not over and self._now() - self._absent.setdefault(key, self._now()) < VISIBLE_WITHIN_S:
            path = script_path(self._folder, job_id)
            raise ClusterUnavailableError(
                f"Job {job_id} belongs to this experiment, but {path}, which names its trial, is not visible. "
                f"It may still come from another node; after {VISIBLE_WITHIN_S:g} s the job is ignored."
            )
        return None

    def _read(self, key: str, job_id: str) -> None:
        for path in (script_path(self._folder, job_id), draft_path(self._folder, key)):
            with contextlib.suppress(OSError):
                tags = tags_in(path.read_text(errors="surrogateescape"), key)
                if tags:
                    self._tags[key] = tags
                    self._absent.pop(key, None)
                    return

    def seen(self) -> None:
        """End the reading of an answer. Scripts without a job id are renamed if the answer shows their array."""
        self._shown = self._noting
        drafts = self._known_drafts()
        for key in [key for key in drafts if key in self._shown]:
            job_id = next(iter(self._shown[key]))
            with contextlib.suppress(OSError):
                draft_path(self._folder, key).rename(script_path(self._folder, job_id))
            del drafts[key]
        self._settled &= {job_id for shown in self._shown.values() for job_id in shown}
        self._tags = {key: tags for key, tags in self._tags.items() if key in self._shown}

    def in_doubt(self, key: str) -> None:
        """Remember that the array ``key`` may have been submitted."""
        self._known_drafts()[key] = self._now()

    def settle(self, job_ids: Iterable[str]) -> None:
        """Mark these jobs as not needed any more. Remove scripts whose submission failed long ago."""
        self._settled.update({i for shown in self._shown.values() for i in shown}.intersection(job_ids))
        drafts = self._known_drafts()
        for key in [key for key, since in drafts.items() if self._now() - since > DOUBT_S]:
            with contextlib.suppress(OSError):
                draft_path(self._folder, key).unlink(missing_ok=True)
                del drafts[key]

    def needed(self) -> set[str]:
        """Ids of the arrays of which the cluster shows an element that lives or is still needed."""
        elements = ((i, over) for shown in self._shown.values() for i, over in shown.items())
        return {base_id(job_id) for job_id, over in elements if not over or job_id not in self._settled}

    def _known_drafts(self) -> dict[str, float]:
        if self._drafts is None:
            self._drafts = {}
            with contextlib.suppress(OSError):
                keys = [path.stem.removeprefix("array-") for path in self._folder.glob("array-*.sh")]
                self._drafts = dict.fromkeys(keys, self._now())
        return self._drafts
