"""``hpctune.utils.serialization``: JSON with functions and other objects, pickled as text."""

from __future__ import annotations

import json
from typing import Any

from hpctune.common import unpickling

_KIND = "CLOUDPICKLE_FALLBACK"


class TuneFunctionEncoder(json.JSONEncoder):
    """Writes what JSON does not know as a pickle: ``json.dumps(value, cls=TuneFunctionEncoder)``."""

    def default(self, o: Any) -> Any:
        """A number for a numpy scalar, a list for an array, else a pickle."""
        if hasattr(o, "dtype") and hasattr(o, "tolist"):
            return o.tolist()
        import cloudpickle

        return {"_type": _KIND, "value": cloudpickle.dumps(o).hex()}


class TuneFunctionDecoder(json.JSONDecoder):
    """Reads what :class:`TuneFunctionEncoder` has written. Unpickles: only for files of your own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, object_hook=_read, **kwargs)


def _read(found: dict[str, Any]) -> Any:
    return unpickling.loads(bytes.fromhex(found["value"])) if found.get("_type") == _KIND else found


__all__ = ["TuneFunctionDecoder", "TuneFunctionEncoder"]
