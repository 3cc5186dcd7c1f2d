"""What a ``sample_from`` function sees of the configuration that is being put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpctune.space.tree import KeyPath, has_unresolved, is_unresolved


class UnresolvedReference(Exception):
    """A function read a value that has not been chosen yet: ``path`` says which. The value comes later."""

    def __init__(self, path: KeyPath) -> None:
        self.path = path
        super().__init__(path)


class SpecView(Mapping[str, Any]):
    """A read-only dict whose entries are attributes too: ``spec.config.lr`` is ``spec["config"]["lr"]``.

    Reading an entry that is still to be chosen raises UnresolvedReference. A key that ``node`` lacks is looked up in
    ``fallback``, which lets functions written as ``lambda config: config["lr"]`` work.
    """

    def __init__(self, node: Mapping[Any, Any], path: KeyPath, fallback: Mapping[Any, Any] | None = None) -> None:
        self._node, self._path, self._fallback = node, path, fallback or {}

    def __getitem__(self, key: Any) -> Any:
        if key in self._node:
            return _guarded(self._node[key], (*self._path, key))
        return _guarded(self._fallback[key], (*self._path, key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no '{name}' here, only {sorted(map(str, self))}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._node)

    def __len__(self) -> int:
        return len(self._node)

    def __repr__(self) -> str:
        return f"SpecView({dict(self._node)!r})"


class _ListView(Sequence[Any]):
    """A list some of whose items are still to be chosen."""

    def __init__(self, node: Sequence[Any], path: KeyPath) -> None:
        self._node, self._path = node, path

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = range(len(self))[index]
        return _guarded(self._node[position], (*self._path, position))

    def __len__(self) -> int:
        return len(self._node)


def config_view(config: Mapping[str, Any]) -> SpecView:
    """Return the ``spec`` for a configuration: ``spec.config`` is the configuration itself."""
    return SpecView({"config": SpecView(config, ())}, (), fallback=config)


def plain(value: Any) -> Any:
    """Return ``value`` with every view in it replaced by an ordinary dict or list."""
    if isinstance(value, (SpecView, dict)):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, _ListView) or type(value) is list:
        return [plain(item) for item in value]
    return tuple(plain(item) for item in value) if type(value) is tuple else value


def _guarded(value: Any, path: KeyPath) -> Any:
    if is_unresolved(value):
        raise UnresolvedReference(path)
    if isinstance(value, SpecView):
        return value
    if isinstance(value, Mapping):
        return SpecView(value, path)
    if type(value) in (list, tuple) and has_unresolved(value):
        return _ListView(value, path)
    return value
